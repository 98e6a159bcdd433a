import com.acme.OrderService;
import org.apache.dubbo.config.ReferenceConfig;

/** How all consumers here call: 1 s, and nothing is tried again. */
final class References {
    private References() {}

    static ReferenceConfig<OrderService> orders() {
        ReferenceConfig<OrderService> reference = new ReferenceConfig<>();
        reference.setInterface(OrderService.class);
        reference.setVersion("1.0.0");
        reference.setRetries(0);
        reference.setTimeout(1_000);
        return reference;
    }

    /** One of the two methods. */
    static String call(OrderService orders, int number) {
        return number % 2 == 0 ? orders.create("order") : orders.get("order");
    }
}
