import com.acme.OrderService;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;

/**
 * Registration SERVER ADDRESS PORT [METADATA]: a provider that registers itself; a line on standard input ends that.
 * METADATA is where Dubbo 3 keeps what an application provides: local, in itself, or remote, in the registry.
 */
public class Registration {
    public static void main(String[] arguments) throws Exception {
        // It listens wherever it can, and says that it is there.
        System.setProperty("DUBBO_IP_TO_REGISTRY", arguments[1]);
        ApplicationConfig application = new ApplicationConfig("orders");
        application.setQosEnable(false);
        if (arguments.length > 3) {
            application.setMetadataType(arguments[3]);
        }
        RegistryConfig registry = new RegistryConfig("zookeeper://" + arguments[0]);
        registry.setTimeout(10_000);
        ProtocolConfig protocol = new ProtocolConfig("dubbo", Integer.parseInt(arguments[2]));
        ServiceConfig<OrderService> service = new ServiceConfig<>();
        service.setInterface(OrderService.class);
        service.setVersion("1.0.0");
        service.setRef(new OrderService() {
            @Override
            public String create(String order) {
                return order;
            }

            @Override
            public String get(String order) {
                return order;
            }
        });
        DubboBootstrap.getInstance().application(application).registry(registry).protocol(protocol).service(service)
                .start();
        System.out.println("registered");
        if (System.in.read() >= 0) {
            service.unexport();
            System.out.println("deregistered");
        }
        Thread.sleep(Long.MAX_VALUE);
    }
}
