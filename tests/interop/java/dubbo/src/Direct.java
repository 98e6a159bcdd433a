import com.acme.OrderService;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;

/**
 * Direct RATE KUBECTL ARGUMENTS…: a Kubernetes client without a registry. It calls the endpoints that are ready, in
 * turn, and knows them from a watch of EndpointSlices.
 *
 * <p>The command prints an event of that watch a line, as the API server sends it. Besides what Load prints, "left MS ADDRESS"
 * says when an endpoint was ready no more.
 */
public class Direct {
    /** Many times what a call may take. */
    private static final int CLOSE_SECONDS = 20;
    private final ExecutorService connecting = Executors.newCachedThreadPool();
    private final Map<String, Set<String>> slices = new HashMap<>();
    /** Ready and connected, by address. */
    private final Map<String, OrderService> ready = new TreeMap<>();
    private final Map<String, ReferenceConfig<OrderService>> references = new HashMap<>();
    private final ScheduledExecutorService closing = Executors.newSingleThreadScheduledExecutor();
    private final CountDownLatch some = new CountDownLatch(1);
    private volatile List<Map.Entry<String, OrderService>> inTurn = List.of();

    public static void main(String[] arguments) throws Exception {
        ApplicationConfig application = new ApplicationConfig("direct");
        application.setQosEnable(false);
        DubboBootstrap.getInstance().application(application).start();
        Direct direct = new Direct();
        Process watch = new ProcessBuilder(Arrays.asList(arguments).subList(1, arguments.length))
                .redirectError(ProcessBuilder.Redirect.INHERIT).start();
        Runtime.getRuntime().addShutdownHook(new Thread(watch::destroy));
        new Thread(() -> direct.follow(watch)).start();
        direct.some.await();
        new Load(direct::call).run(Integer.parseInt(arguments[0]));
    }

    private String call(int number) {
        List<Map.Entry<String, OrderService>> now = inTurn;
        if (now.isEmpty()) {
            throw new IllegalStateException("no endpoint is ready");
        }
        Map.Entry<String, OrderService> endpoint = now.get(number % now.size());
        try {
            return References.call(endpoint.getValue(), number);
        } catch (RuntimeException e) {
            throw new IllegalStateException(endpoint.getKey() + ": " + e, e);
        }
    }

    private void follow(Process watch) {
        try (BufferedReader lines = new BufferedReader(new InputStreamReader(watch.getInputStream()))) {
            ObjectMapper json = new ObjectMapper();
            for (String line; (line = lines.readLine()) != null; ) {
                take(json.readTree(line));
            }
            System.out.println("the watch ended");
        } catch (IOException e) {
            System.out.println("the watch broke: " + e);
        }
        // Who knows no endpoints calls none: without its watch this is no client to compare with.
        Runtime.getRuntime().halt(1);
    }

    private void close(String address) {
        ReferenceConfig<OrderService> reference;
        synchronized (this) {
            if (ready.containsKey(address)) {
                return;
            }
            reference = references.remove(address);
        }
        if (reference != null) {
            reference.destroy();
        }
    }

    private synchronized void take(JsonNode event) {
        Set<String> before = union();
        JsonNode slice = event.get("object");
        Set<String> now = slices.computeIfAbsent(slice.at("/metadata/name").asText(), name -> new HashSet<>());
        now.clear();
        for (JsonNode port : slice.path("ports")) {
            for (JsonNode endpoint : slice.path("endpoints")) {
                // What is not said is true.
                boolean ready = endpoint.at("/conditions/ready").asBoolean(true);
                if (ready && port.path("name").asText().equals("dubbo") && !event.get("type").asText().equals("DELETED")) {
                    now.add(endpoint.at("/addresses/0").asText() + ":" + port.get("port"));
                }
            }
        }
        Set<String> after = union();
        for (String address : before) {
            if (!after.contains(address)) {
                System.out.println("left " + System.currentTimeMillis() + " " + address);
                closing.schedule(() -> close(address), CLOSE_SECONDS, TimeUnit.SECONDS);
            }
        }
        ready.keySet().retainAll(after);
        inTurn = entries();
        after.removeAll(before);
        after.forEach(address -> connecting.execute(() -> connect(address)));
    }

    /** Copies: a tree's own entries change when others go. */
    private List<Map.Entry<String, OrderService>> entries() {
        return ready.entrySet().stream().map(Map.Entry::copyOf).collect(Collectors.toList());
    }

    private Set<String> union() {
        Set<String> all = new HashSet<>();
        slices.values().forEach(all::addAll);
        return all;
    }

    /** Its reference is kept until no call can be under way: to close it would be one more reason for that to fail. */
    private void connect(String address) {
        ReferenceConfig<OrderService> reference = References.orders();
        reference.setUrl("dubbo://" + address);
        reference.setCheck(false);
        OrderService orders = reference.get();
        synchronized (this) {
            if (union().contains(address)) {
                ready.put(address, orders);
                references.put(address, reference);
                inTurn = entries();
                some.countDown();
            }
        }
    }
}
