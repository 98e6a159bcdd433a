import static java.util.concurrent.TimeUnit.MILLISECONDS;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryNTimes;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.ZooKeeper;

/** Nodes that stay, groups, counters, queues, and the builders below them. */
final class Nodes extends Recipe {
  Nodes(Check check) {
    super(check);
  }

  @Override
  void steps() {
    check.step("builders", this::builders);
    check.step("transactions", this::transactions);
    check.step("persistent node", this::persistentNode);
    check.step("persistent TTL node", this::ttlNode);
    check.step("group membership", this::group);
    check.step("distributed atomic long", this::atomicLong);
    check.step("shared count", this::sharedCount);
    check.step("queues", this::queues);
  }

  private void builders() throws Exception {
    String place = place("builders");
    String made = one.create().creatingParentContainersIfNeeded().withMode(CreateMode.PERSISTENT)
        .forPath(place + "/a/b/c", bytes("x"));
    Check.equal(place + "/a/b/c", made);
    String guarded = one.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath(place + "/g-");
    Check.that(guarded.matches(".*/_c_[-0-9a-f]+-g-\\d{10}"), guarded);
    Check.equal(place + "/a", one.create().orSetData().forPath(place + "/a", bytes("set")));
    Check.equal("set", new String(one.getData().forPath(place + "/a")));
    one.setData().compressed().forPath(place + "/a", new byte[100_000]);
    Check.equal(100_000, one.getData().decompressed().forPath(place + "/a").length);
    one.create().idempotent().withMode(CreateMode.PERSISTENT).forPath(place + "/i", bytes("same"));
    one.create().idempotent().withMode(CreateMode.PERSISTENT).forPath(place + "/i", bytes("same"));
    BlockingQueue<String> done = new LinkedBlockingQueue<>();
    one.delete().guaranteed().inBackground((client, event) -> done.add(event.getType() + " " + event.getResultCode()))
        .forPath(place + "/i");
    Check.equal("DELETE 0", done.poll(Check.PATIENCE_MS, MILLISECONDS));
    one.sync().inBackground((client, event) -> done.add("" + event.getType())).forPath(place);
    Check.equal("SYNC", done.poll(Check.PATIENCE_MS, MILLISECONDS));
    one.delete().deletingChildrenIfNeeded().forPath(place + "/a");
    try (CuratorFramework inner = one.usingNamespace(place.substring(1)) == null ? null
        : org.apache.curator.framework.CuratorFrameworkFactory.builder().connectString(check.server)
            .namespace(place.substring(1)).retryPolicy(new RetryNTimes(3, 100)).build()) {
      inner.start();
      inner.create().forPath("/inner");
      Check.that(exists(place + "/inner"), "the namespace is a prefix");
    }
    String temporary = one.create().withTtl(1_000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath(place + "/ttl");
    Check.until("the TTL znode ends", () -> !exists(temporary));
  }

  private void transactions() throws Exception {
    String place = place("transactions");
    one.create().creatingParentsIfNeeded().forPath(place);
    List<CuratorTransactionResult> results = one.transaction().forOperations(
        one.transactionOp().create().forPath(place + "/a", bytes("1")),
        one.transactionOp().check().withVersion(0).forPath(place + "/a"),
        one.transactionOp().setData().forPath(place + "/a", bytes("2")));
    Check.equal(List.of(place + "/a", place + "/a", place + "/a"),
        results.stream().map(CuratorTransactionResult::getForPath).toList());
    Check.equal(1, results.get(2).getResultStat().getVersion());
    Check.fails(org.apache.zookeeper.KeeperException.BadVersionException.class,
        () -> one.transaction().forOperations(
            one.transactionOp().create().forPath(place + "/b"),
            one.transactionOp().check().withVersion(9).forPath(place + "/a")));
    Check.that(!exists(place + "/b"), "all or nothing");
  }

  private static void expire(Check check, CuratorFramework client) throws Exception {
    ZooKeeper victim = client.getZookeeperClient().getZooKeeper();
    ZooKeeper closer =
        new ZooKeeper(check.server, TIMEOUT_MS, event -> { }, victim.getSessionId(), victim.getSessionPasswd());
    Check.until("attached", () -> closer.getState().isConnected());
    closer.close();
  }

  private void persistentNode() throws Exception {
    String place = place("persistent");
    try (CuratorFramework owner = client(check.server, TIMEOUT_MS);
        PersistentNode node = new PersistentNode(owner, CreateMode.EPHEMERAL, false, place, bytes("x"), true)) {
      BlockingQueue<ConnectionState> states = new LinkedBlockingQueue<>();
      owner.getConnectionStateListenable().addListener((client, state) -> states.add(state));
      node.start();
      Check.that(node.waitForInitialCreate(Check.PATIENCE_MS, MILLISECONDS), "it is made");
      one.delete().forPath(place);
      Check.until("it is made again", () -> exists(place));
      node.setData(bytes("y"));
      Check.until("it has the data", () -> "y".equals(new String(one.getData().forPath(place))));
      long before = one.checkExists().forPath(place).getEphemeralOwner();
      expire(check, owner);
      Check.until("it is made again by another session",
          () -> exists(place) && one.checkExists().forPath(place).getEphemeralOwner() != before);
      Check.that(states.contains(ConnectionState.LOST), "the loss was heard: " + states);
    }
    Check.until("it is gone", () -> !exists(place));
  }

  private void ttlNode() throws Exception {
    String place = place("ttl");
    try (PersistentTtlNode node = new PersistentTtlNode(one, place, 1_000, bytes("x"))) {
      node.start();
      Check.that(node.waitForInitialCreate(Check.PATIENCE_MS, MILLISECONDS), "it is made");
      Check.until("it is touched", () -> exists(place + "/touch"));
      Thread.sleep(3_000);
      Check.that(exists(place), "it is kept beyond its time");
    }
    Check.until("it ends when nobody touches it", () -> !exists(place));
  }

  private void group() throws Exception {
    List<GroupMember> members = new ArrayList<>();
    List<CuratorFramework> clients = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      clients.add(client(check.server, TIMEOUT_MS));
      members.add(new GroupMember(clients.get(i), place("group"), "member-" + i, bytes("" + i)));
      members.get(i).start();
    }
    for (GroupMember member : members) {
      Check.until("all are seen", () -> member.getCurrentMembers().size() == 3);
    }
    expire(check, clients.get(0));
    members.get(1).close();
    Check.until("one has gone, and the one that expired is back",
        () -> members.get(2).getCurrentMembers().keySet().equals(java.util.Set.of("member-0", "member-2")));
    members.get(0).close();
    members.get(2).close();
    clients.forEach(CuratorFramework::close);
  }

  private void atomicLong() throws Exception {
    List<Future<?>> all = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      DistributedAtomicLong counter =
          new DistributedAtomicLong(i % 2 == 0 ? one : two, place("long"), new RetryNTimes(500, 5));
      all.add(threads.submit(() -> {
        for (int round = 0; round < 25; round++) {
          AtomicValue<Long> value = counter.increment();
          Check.that(value.succeeded(), "counted");
        }
        return null;
      }));
    }
    for (Future<?> each : all) {
      each.get(2 * Check.PATIENCE_MS, MILLISECONDS);
    }
    DistributedAtomicLong counter = new DistributedAtomicLong(one, place("long"), new RetryNTimes(3, 5));
    Check.equal(100L, counter.get().postValue());
    Check.that(!counter.compareAndSet(99L, 7L).succeeded(), "the value is another");
    Check.that(counter.compareAndSet(100L, 7L).succeeded(), "the value is this one");
  }

  private void sharedCount() throws Exception {
    try (SharedCount first = new SharedCount(one, place("count"), 0);
        SharedCount second = new SharedCount(two, place("count"), 0)) {
      first.start();
      second.start();
      first.setCount(42);
      Check.until("the other sees it", () -> second.getCount() == 42);
      Check.that(second.trySetCount(second.getVersionedValue(), 43), "the version is right");
      Check.until("the other sees it", () -> first.getCount() == 43);
    }
  }

  private void queues() throws Exception {
    SimpleDistributedQueue simple = new SimpleDistributedQueue(one, place("simple"));
    for (int i = 0; i < 5; i++) {
      simple.offer(bytes("" + i));
    }
    SimpleDistributedQueue other = new SimpleDistributedQueue(two, place("simple"));
    for (int i = 0; i < 5; i++) {
      Check.equal("" + i, new String(other.poll(Check.PATIENCE_MS, MILLISECONDS)));
    }
    BlockingQueue<String> taken = new LinkedBlockingQueue<>();
    QueueSerializer<String> serializer = new QueueSerializer<>() {
      @Override
      public byte[] serialize(String item) {
        return bytes(item);
      }

      @Override
      public String deserialize(byte[] data) {
        return new String(data);
      }
    };
    QueueConsumer<String> consumer = new QueueConsumer<>() {
      @Override
      public void consumeMessage(String message) {
        taken.add(message);
      }

      @Override
      public void stateChanged(CuratorFramework client, ConnectionState state) {}
    };
    try (DistributedQueue<String> into = QueueBuilder.builder(one, null, serializer, place("queue")).buildQueue();
        DistributedQueue<String> from = QueueBuilder.builder(two, consumer, serializer, place("queue"))
            .lockPath(place("queue-locks")).buildQueue()) {
      into.start();
      from.start();
      for (int i = 0; i < 20; i++) {
        into.put("item " + i);
      }
      for (int i = 0; i < 20; i++) {
        Check.that(taken.poll(Check.PATIENCE_MS, MILLISECONDS) != null, "an item");
      }
    }
  }
}
