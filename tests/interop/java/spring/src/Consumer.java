import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.springframework.boot.WebApplicationType;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.cloud.client.ServiceInstance;
import org.springframework.cloud.client.discovery.DiscoveryClient;
import org.springframework.context.ConfigurableApplicationContext;

/** Consumer HOST:PORT APPLICATION: the instances that Spring's DiscoveryClient names, in turn. */
@EnableAutoConfiguration
public class Consumer {
    public static void main(String[] arguments) {
        ConfigurableApplicationContext context = new SpringApplicationBuilder(Consumer.class)
                .web(WebApplicationType.NONE)
                .properties(
                        "spring.application.name=shop",
                        "spring.cloud.zookeeper.connect-string=" + arguments[0],
                        "spring.cloud.zookeeper.discovery.register=false")
                .run();
        DiscoveryClient discovery = context.getBean(DiscoveryClient.class);
        HttpClient http = HttpClient.newHttpClient();
        AtomicInteger turn = new AtomicInteger();
        Answers.of("spring", () -> {
            List<ServiceInstance> instances = discovery.getInstances(arguments[1]);
            ServiceInstance instance = instances.get(turn.getAndIncrement() % instances.size());
            HttpRequest request = HttpRequest.newBuilder(instance.getUri()).build();
            return http.send(request, HttpResponse.BodyHandlers.ofString()).body();
        });
    }
}
