import java.util.Collections;
import java.util.HashSet;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.x.discovery.ServiceCache;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.curator.x.discovery.ServiceProvider;
import org.apache.zookeeper.data.Stat;

/** Curator's service discovery. */
final class Discovery extends Recipe {
  Discovery(Check check) {
    super(check);
  }

  @Override
  void steps() {
    check.step("service discovery", this::discovery);
  }

  private static ServiceInstance<String> instance(int port) throws Exception {
    return ServiceInstance.<String>builder().name("orders").address("10.0.0.1").port(port)
        .payload("zone " + port).build();
  }

  private ServiceDiscovery<String> discovery(CuratorFramework client) {
    return ServiceDiscoveryBuilder.builder(String.class).client(client).basePath(place("services")).build();
  }

  private static Set<Integer> ports(ServiceCache<String> cache) {
    return cache.getInstances().stream().map(ServiceInstance::getPort).collect(Collectors.toSet());
  }

  /** The zxids of the instances' registrations. */
  private Set<Long> registrations() throws Exception {
    Set<Long> zxids = new HashSet<>();
    for (String instance : one.getChildren().forPath(place("services/orders"))) {
      Stat stat = one.checkExists().forPath(place("services/orders/" + instance));
      if (stat != null) {
        zxids.add(stat.getCzxid());
      }
    }
    return zxids;
  }

  private void discovery() throws Exception {
    CuratorFramework client = client(check.server, TIMEOUT_MS);
    ServiceDiscovery<String> provider = discovery(client);
    try (ServiceDiscovery<String> consumer = discovery(two)) {
      provider.start();
      consumer.start();
      ServiceInstance<String> first = instance(1);
      provider.registerService(first);
      provider.registerService(instance(2));
      try (ServiceCache<String> cache = consumer.serviceCacheBuilder().name("orders").build();
          ServiceProvider<String> calls = consumer.serviceProviderBuilder().serviceName("orders").build()) {
        cache.start();
        calls.start();
        Check.until("both are seen", () -> ports(cache).equals(Set.of(1, 2)));
        Check.that(calls.getInstance().getPayload().startsWith("zone "), "the payload is read");
        provider.registerService(instance(3));
        provider.unregisterService(first);
        Check.until("the change is seen", () -> ports(cache).equals(Set.of(2, 3)));
        Set<Long> before = registrations();
        check.restartServer();
        // A provider that sees its connection again deletes and registers each instance anew, on another thread. One
        // that is closed meanwhile leaves behind what that thread registers last; seen with Apache's server as well.
        Check.until("all are registered anew", () -> {
          Set<Long> now = registrations();
          return now.size() == before.size() && Collections.disjoint(now, before);
        });
        Check.until("all are still there", () -> consumer.queryForInstances("orders").size() == 2);
        Check.until("the cache has them", () -> ports(cache).equals(Set.of(2, 3)));
        Check.equal(Set.of("orders"), Set.copyOf(consumer.queryForNames()));
        provider.close();
        Check.until("all end", () -> ports(cache).isEmpty());
      }
    }
    client.close();
  }
}
