import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.RetryForever;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;

/** Registration SERVER BASE NAME ADDRESS PORT: registers one instance; a line on standard input deregisters it. */
public class Registration {
    public static void main(String[] arguments) throws Exception {
        CuratorFramework client =
                CuratorFrameworkFactory.newClient(arguments[0], 6_000, 5_000, new RetryForever(200));
        client.start();
        ServiceInstance<Void> instance = ServiceInstance.<Void>builder()
                .name(arguments[2]).address(arguments[3]).port(Integer.parseInt(arguments[4])).build();
        ServiceDiscovery<Void> discovery = ServiceDiscoveryBuilder.builder(Void.class)
                .client(client).basePath(arguments[1]).thisInstance(instance).build();
        discovery.start();
        System.out.println("registered");
        if (System.in.read() >= 0) {
            discovery.unregisterService(instance);
            System.out.println("deregistered");
        }
        Thread.sleep(Long.MAX_VALUE);
    }
}
