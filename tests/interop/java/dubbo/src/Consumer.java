import com.acme.OrderService;
import java.util.Set;
import java.util.TreeSet;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;

/**
 * Consumer HOST:PORT: calls without a pause and without retries, once it has a provider.
 *
 * <p>Prints each second "calls ok=N failed=N" since the start, and the addresses that answered in this second.
 */
public class Consumer {
    public static void main(String[] arguments) throws Exception {
        ApplicationConfig application = new ApplicationConfig("shop");
        application.setQosEnable(false);
        ReferenceConfig<OrderService> reference = new ReferenceConfig<>();
        reference.setInterface(OrderService.class);
        reference.setVersion("1.0.0");
        reference.setRetries(0);
        DubboBootstrap.getInstance().application(application)
                .registry(new RegistryConfig("zookeeper://" + arguments[0]))
                .reference(reference).start();
        OrderService orders = reference.get();

        long ok = 0;
        long failed = 0;
        while (true) {
            Set<String> answered = new TreeSet<>();
            for (long end = System.nanoTime() + 1_000_000_000; System.nanoTime() < end; Thread.sleep(5)) {
                try {
                    answered.add(ok % 2 == 0 ? orders.create("order") : orders.get("order"));
                    ok++;
                } catch (RuntimeException e) {
                    failed++;
                    System.out.println("failure " + e);
                }
            }
            System.out.println("calls ok=" + ok + " failed=" + failed + " " + String.join(" ", answered));
        }
    }
}
