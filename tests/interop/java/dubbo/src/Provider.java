import com.acme.OrderService;
import java.net.Inet4Address;
import java.net.InetSocketAddress;
import java.net.NetworkInterface;
import java.net.ServerSocket;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;

/**
 * Provider PORT READY-PORT [HOST]: answers with its address, by default that of its pod, and registers itself nowhere.
 * Listens on the second port once it has answered itself often enough to do so quickly.
 */
public class Provider {
    public static void main(String[] arguments) throws Exception {
        String address = arguments.length > 2 ? arguments[2] : addressOfPod();
        ProtocolConfig protocol = new ProtocolConfig("dubbo", Integer.parseInt(arguments[0]));
        protocol.setHost(address);
        ServiceConfig<OrderService> service = new ServiceConfig<>();
        service.setInterface(OrderService.class);
        service.setVersion("1.0.0");
        service.setRef(new OrderService() {
            @Override
            public String create(String order) {
                return address;
            }

            @Override
            public String get(String order) {
                return address;
            }
        });
        ApplicationConfig application = new ApplicationConfig("orders");
        application.setQosEnable(false);
        DubboBootstrap.getInstance().application(application)
                .registry(new RegistryConfig(RegistryConfig.NO_AVAILABLE))
                .protocol(protocol).service(service).start();
        ReferenceConfig<OrderService> itself = References.orders();
        itself.setUrl("dubbo://" + address + ":" + arguments[0]);
        // The first calls take seconds while others start too.
        itself.setTimeout(60_000);
        for (int i = 0; i < 200; i++) {
            References.call(itself.get(), i);
        }
        try (ServerSocket ready = new ServerSocket()) {
            ready.bind(new InetSocketAddress(address, Integer.parseInt(arguments[1])));
            while (true) {
                ready.accept().close();
            }
        }
    }

    private static String addressOfPod() throws Exception {
        return NetworkInterface.getByName("eth0").inetAddresses()
                .filter(Inet4Address.class::isInstance).findFirst().orElseThrow().getHostAddress();
    }
}
