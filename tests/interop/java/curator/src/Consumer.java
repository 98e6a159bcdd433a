import java.util.Collection;
import java.util.HashSet;
import java.util.Set;
import java.util.TreeSet;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryForever;
import org.apache.curator.x.discovery.ServiceCache;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.curator.x.discovery.details.ServiceCacheListener;

/**
 * Consumer HOST:PORT BASE NAME [PAUSE]: what ServiceCache and queryForInstances say of a service. It queries every
 * PAUSE milliseconds, by default 5.
 *
 * <p>Prints "cache A B…" and "query A B…" whenever the set differs, "left MS A" for each address that is gone from the
 * cache, and "miss …" when an address comes back after it had been away. Of addresses that are ready once in their
 * life, that is one that a consumer missed.
 */
public class Consumer {
    private final String source;
    private final Set<String> known = new HashSet<>();
    private Set<String> last = Set.of();
    private long reads;
    private long misses;

    private Consumer(String source) {
        this.source = source;
    }

    private synchronized void read(Collection<ServiceInstance<Void>> instances) {
        reads++;
        Set<String> now = new TreeSet<>();
        for (ServiceInstance<Void> instance : instances) {
            now.add(instance.getAddress() + ":" + instance.getPort());
        }
        if (now.equals(last) && reads > 1) {
            return;
        }
        for (String address : last) {
            if (!now.contains(address) && source.equals("cache")) {
                System.out.println("left " + System.currentTimeMillis() + " " + address);
            }
        }
        for (String address : now) {
            if (!known.add(address) && !last.contains(address)) {
                misses++;
                System.out.println("miss " + source + " " + address);
            }
        }
        last = now;
        System.out.println(source + " " + String.join(" ", now));
    }

    private synchronized String total() {
        return source + "-total reads=" + reads + " misses=" + misses;
    }

    public static void main(String[] arguments) throws Exception {
        String name = arguments[2];
        CuratorFramework client = CuratorFrameworkFactory.newClient(arguments[0], 10_000, 5_000, new RetryForever(200));
        client.start();
        ServiceDiscovery<Void> discovery =
                ServiceDiscoveryBuilder.builder(Void.class).client(client).basePath(arguments[1]).build();
        discovery.start();

        Consumer cached = new Consumer("cache");
        Consumer queried = new Consumer("query");
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            System.out.println(cached.total());
            System.out.println(queried.total());
        }));
        ServiceCache<Void> cache = discovery.serviceCacheBuilder().name(name).build();
        cache.addListener(new ServiceCacheListener() {
            @Override
            public void cacheChanged() {
                cached.read(cache.getInstances());
            }

            @Override
            public void stateChanged(CuratorFramework client, ConnectionState state) {
                System.out.println("state " + state);
            }
        });
        cache.start();
        cached.read(cache.getInstances());
        long pause = arguments.length > 3 ? Long.parseLong(arguments[3]) : 5;
        while (true) {
            queried.read(discovery.queryForInstances(name));
            Thread.sleep(pause);
        }
    }
}
