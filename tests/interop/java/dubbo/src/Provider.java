import com.acme.OrderService;
import java.net.Inet4Address;
import java.net.NetworkInterface;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;

/** Provider PORT: answers with the address of its pod, and registers itself nowhere. */
public class Provider {
    public static void main(String[] arguments) throws Exception {
        String address = NetworkInterface.getByName("eth0").inetAddresses()
                .filter(Inet4Address.class::isInstance).findFirst().orElseThrow().getHostAddress();
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
                .protocol(protocol).service(service).start().await();
    }
}
