import com.acme.OrderService;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;

/** Consumer RATE HOST:PORT: calls the providers that the registry names; see Load. */
public class Consumer {
    public static void main(String[] arguments) throws Exception {
        ApplicationConfig application = new ApplicationConfig("shop");
        application.setQosEnable(false);
        ReferenceConfig<OrderService> reference = References.orders();
        DubboBootstrap.getInstance().application(application)
                .registry(new RegistryConfig("zookeeper://" + arguments[1]))
                .reference(reference).start();
        OrderService orders = reference.get();
        new Load(number -> References.call(orders, number)).run(Integer.parseInt(arguments[0]));
    }
}
