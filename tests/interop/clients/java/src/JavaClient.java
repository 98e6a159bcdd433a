import static java.nio.charset.StandardCharsets.UTF_8;
import static org.apache.zookeeper.CreateMode.CONTAINER;
import static org.apache.zookeeper.CreateMode.EPHEMERAL;
import static org.apache.zookeeper.CreateMode.EPHEMERAL_SEQUENTIAL;
import static org.apache.zookeeper.CreateMode.PERSISTENT;
import static org.apache.zookeeper.CreateMode.PERSISTENT_SEQUENTIAL;
import static org.apache.zookeeper.CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL;
import static org.apache.zookeeper.CreateMode.PERSISTENT_WITH_TTL;
import static org.apache.zookeeper.ZooDefs.Ids.CREATOR_ALL_ACL;
import static org.apache.zookeeper.ZooDefs.Ids.OPEN_ACL_UNSAFE;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.AsyncCallback;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.Watcher.WatcherType;
import org.apache.zookeeper.ZooDefs.Perms;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.admin.ZooKeeperAdmin;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.ClientInfo;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;

/** Apache's own client, through all of its calls. */
final class JavaClient {
  private static final int TIMEOUT_MS = 30_000;

  private final Check check;
  private final String root;
  private ZooKeeper zk;

  JavaClient(Check check) {
    this.check = check;
    root = check.root;
  }

  /** A handle, and what its watcher heard of the connection. */
  private static final class Handle implements AutoCloseable {
    final BlockingQueue<KeeperState> states = new LinkedBlockingQueue<>();
    final ZooKeeper zk;

    Handle(String server, int timeoutMs) throws Exception {
      zk = new ZooKeeper(server, timeoutMs, this::hear);
      is(KeeperState.SyncConnected);
    }

    Handle(String server, long session, byte[] password) throws Exception {
      zk = new ZooKeeper(server, TIMEOUT_MS, this::hear, session, password);
    }

    private void hear(WatchedEvent event) {
      if (event.getType() == EventType.None) {
        states.add(event.getState());
      }
    }

    /** Waits until the handle says so. */
    void is(KeeperState state) throws Exception {
      KeeperState heard;
      do {
        heard = states.poll(Check.PATIENCE_MS, TimeUnit.MILLISECONDS);
        Check.that(heard != null, "the handle becomes " + state);
      } while (heard != state);
    }

    @Override
    public void close() throws InterruptedException {
      zk.close();
    }
  }

  /** What a watcher heard about znodes. */
  private static final class Heard implements Watcher {
    private final BlockingQueue<String> events = new LinkedBlockingQueue<>();

    @Override
    public void process(WatchedEvent event) {
      if (event.getType() != EventType.None) {
        events.add(event.getType() + " " + event.getPath());
      }
    }

    void next(String expected) throws InterruptedException {
      Check.equal(expected, events.poll(Check.PATIENCE_MS, TimeUnit.MILLISECONDS));
    }

    void nothing() {
      Check.equal(null, events.peek());
    }
  }

  void run() throws Exception {
    try (Handle handle = new Handle(check.server, TIMEOUT_MS)) {
      zk = handle.zk;
      zk.create(root, new byte[0], OPEN_ACL_UNSAFE, PERSISTENT);
      check.step("create modes and their stats", this::modes);
      check.step("containers and TTL znodes end", this::shortLived);
      check.step("sequence numbers", this::sequences);
      check.step("errors", this::errors);
      check.step("null and empty data", this::data);
      check.step("multi", this::multi);
      check.step("a multi that fails", this::failingMulti);
      check.step("multi with all kinds of create", this::multiCreates);
      check.step("multi of reads", this::multiRead);
      check.step("ACLs and digest", this::access);
      check.step("one-shot watches", this::oneShot);
      check.step("persistent watches", this::persistent);
      check.step("recursive watches", this::recursive);
      check.step("watches are removed", this::removeWatches);
      check.step("ephemerals and children are counted", this::counts);
      check.step("asynchronous calls answer in order", this::pipelined);
      check.step("a list of 20,000", this::largeList);
      check.step("data up to the limit, and beyond", this::largeData);
      check.step("paths in Unicode", this::unicode);
      check.step("chroot", this::chroot);
      check.step("configuration", this::configuration);
      check.step("a session moves to another handle", this::move);
      check.step("a session that was closed elsewhere has expired", this::expiry);
      check.step("a wrong password is no session", this::wrongPassword);
      check.step("a process that is killed loses its ephemerals", this::killed);
      check.step("what happened behind a cut wire is heard", this::missedEvents);
      check.step("a restart of the server", this::restart);
    }
  }

  private String create(String path, CreateMode mode) throws Exception {
    return zk.create(path, bytes("x"), OPEN_ACL_UNSAFE, mode);
  }

  private String place(String name) throws Exception {
    return create(root + "/" + name, PERSISTENT);
  }

  /** Waits until the handle that all steps share is connected again. */
  private void isBack(String path) throws Exception {
    Check.until("the shared session is back", () -> {
      try {
        return zk.exists(path, false) != null;
      } catch (KeeperException.ConnectionLossException error) {
        return false;
      }
    });
  }

  private static byte[] bytes(String text) {
    return text.getBytes(UTF_8);
  }

  private void modes() throws Exception {
    String place = place("modes");
    for (CreateMode mode : CreateMode.values()) {
      String asked = place + "/" + mode;
      Stat stat = new Stat();
      String made = mode.isTTL()
          ? zk.create(asked, bytes("abc"), OPEN_ACL_UNSAFE, mode, stat, 3_600_000)
          : zk.create(asked, bytes("abc"), OPEN_ACL_UNSAFE, mode, stat);
      Check.that(mode.isSequential() ? made.matches(asked + "\\d{10}") : made.equals(asked), made);
      Stat found = zk.exists(made, false);
      Check.equal(found, stat);
      Check.equal(stat.getCzxid(), stat.getMzxid());
      Check.equal(stat.getCzxid(), stat.getPzxid());
      Check.equal(stat.getCtime(), stat.getMtime());
      Check.equal(List.of(0, 0, 0, 3, 0), List.of(stat.getVersion(), stat.getCversion(), stat.getAversion(),
          stat.getDataLength(), stat.getNumChildren()));
      Check.equal(mode.isEphemeral() ? zk.getSessionId() : 0L, stat.getEphemeralOwner());
      if (!mode.isEphemeral()) {
        create(made + "/child", PERSISTENT);
        Check.equal(1, zk.exists(made, false).getNumChildren());
      }
    }
  }

  private void shortLived() throws Exception {
    String place = place("short");
    String container = create(place + "/container", CONTAINER);
    String child = create(container + "/child", PERSISTENT);
    String lives = zk.create(place + "/ttl", bytes("x"), OPEN_ACL_UNSAFE, PERSISTENT_WITH_TTL, null, 1_000);
    String parent = zk.create(place + "/ttl-with-child-", bytes("x"), OPEN_ACL_UNSAFE, PERSISTENT_SEQUENTIAL_WITH_TTL,
        null, 1_000);
    create(parent + "/child", PERSISTENT);
    Heard heard = new Heard();
    zk.exists(lives, heard);
    heard.next("NodeDeleted " + lives);
    Check.that(zk.exists(parent, false) != null, "a TTL znode with a child stays");
    Check.that(zk.exists(container, false) != null, "a container with a child stays");
    zk.exists(container, heard);
    zk.delete(child, -1);
    heard.next("NodeDeleted " + container);
    zk.delete(parent + "/child", -1);
    Check.until("the TTL znode ends when its child has", () -> zk.exists(parent, false) == null);
  }

  private void sequences() throws Exception {
    String place = place("sequences");
    Check.equal(place + "/a-0000000000", create(place + "/a-", PERSISTENT_SEQUENTIAL));
    Check.equal(place + "/b-0000000001", create(place + "/b-", EPHEMERAL_SEQUENTIAL));
    create(place + "/plain", PERSISTENT);
    Check.equal(place + "/0000000003", create(place + "/", PERSISTENT_SEQUENTIAL));
    zk.delete(place + "/a-0000000000", -1);
    Check.equal(place + "/a-0000000004", create(place + "/a-", PERSISTENT_SEQUENTIAL));
  }

  private void errors() throws Exception {
    String place = place("errors");
    Check.fails(KeeperException.NoNodeException.class, () -> create(place + "/none/child", PERSISTENT));
    Check.fails(KeeperException.NodeExistsException.class, () -> create(place, PERSISTENT));
    String ephemeral = create(place + "/ephemeral", EPHEMERAL);
    Check.fails(KeeperException.NoChildrenForEphemeralsException.class,
        () -> create(ephemeral + "/child", PERSISTENT));
    Check.fails(KeeperException.NotEmptyException.class, () -> zk.delete(place, -1));
    Check.fails(KeeperException.BadVersionException.class, () -> zk.setData(ephemeral, bytes("y"), 7));
    Check.fails(KeeperException.BadVersionException.class, () -> zk.delete(ephemeral, 7));
    Check.fails(KeeperException.BadVersionException.class, () -> zk.setACL(ephemeral, OPEN_ACL_UNSAFE, 7));
    String missing = place + "/none";
    Check.fails(KeeperException.NoNodeException.class, () -> zk.getData(missing, false, null));
    Check.fails(KeeperException.NoNodeException.class, () -> zk.setData(missing, bytes("y"), -1));
    Check.fails(KeeperException.NoNodeException.class, () -> zk.getChildren(missing, false));
    Check.fails(KeeperException.NoNodeException.class, () -> zk.getACL(missing, null));
    Check.fails(KeeperException.NoNodeException.class, () -> zk.setACL(missing, OPEN_ACL_UNSAFE, -1));
    Check.fails(KeeperException.NoNodeException.class, () -> zk.getAllChildrenNumber(missing));
    Check.equal(null, zk.exists(missing, false));
    List<ACL> unknown = Arrays.asList(new ACL(Perms.ALL, new Id("nonsense", "x")));
    Check.fails(KeeperException.InvalidACLException.class,
        () -> zk.create(place + "/acl", bytes("x"), unknown, PERSISTENT));
    Check.fails(KeeperException.InvalidACLException.class,
        () -> zk.create(place + "/acl", bytes("x"), CREATOR_ALL_ACL, PERSISTENT));
    Check.fails(KeeperException.class, () -> zk.delete("/zookeeper/quota", -1));
    Check.fails(KeeperException.class, () -> zk.delete("/zookeeper", -1));
  }

  private void data() throws Exception {
    String place = place("data");
    zk.create(place + "/null", null, OPEN_ACL_UNSAFE, PERSISTENT);
    Stat stat = new Stat();
    Check.equal(null, zk.getData(place + "/null", false, stat));
    Check.equal(0, stat.getDataLength());
    zk.setData(place + "/null", new byte[0], 0);
    Check.equal(0, zk.getData(place + "/null", false, stat).length);
    zk.setData(place + "/null", null, 1);
    Check.equal(null, zk.getData(place + "/null", false, stat));
    Check.equal(2, stat.getVersion());
    Check.that(stat.getMzxid() > stat.getCzxid() && stat.getMtime() >= stat.getCtime(), stat.toString());
  }

  private void multi() throws Exception {
    String place = place("multi");
    List<OpResult> results = zk.multi(List.of(
        Op.create(place + "/a", bytes("1"), OPEN_ACL_UNSAFE, PERSISTENT),
        Op.create(place + "/a/b", bytes("2"), OPEN_ACL_UNSAFE, EPHEMERAL),
        Op.check(place + "/a", 0),
        Op.setData(place + "/a", bytes("three"), 0),
        Op.delete(place + "/a/b", 0)));
    Check.equal(List.of(1, 1, 13, 5, 2), results.stream().map(OpResult::getType).toList());
    Check.equal(place + "/a", ((OpResult.CreateResult) results.get(0)).getPath());
    Stat set = ((OpResult.SetDataResult) results.get(3)).getStat();
    Check.equal(List.of(1, 5), List.of(set.getVersion(), set.getDataLength()));
    Stat now = zk.exists(place + "/a", false);
    Check.equal(now.getCzxid(), now.getMzxid());
    Check.equal(List.of(), zk.getChildren(place + "/a", false));
    Check.equal(List.of(), zk.multi(List.of()));
    BlockingQueue<Integer> codes = new LinkedBlockingQueue<>();
    zk.multi(List.of(Op.delete(place + "/a", 1)), (code, path, context, opResults) -> codes.add(code), null);
    Check.equal(0, codes.poll(Check.PATIENCE_MS, TimeUnit.MILLISECONDS));
    results = zk.transaction().create(place + "/t", bytes("t"), OPEN_ACL_UNSAFE, PERSISTENT).check(place, -1).commit();
    Check.equal(2, results.size());
  }

  private void failingMulti() throws Exception {
    String place = place("failing");
    KeeperException error = Check.fails(KeeperException.NodeExistsException.class, () -> zk.multi(List.of(
        Op.create(place + "/a", bytes("1"), OPEN_ACL_UNSAFE, PERSISTENT),
        Op.setData(place, bytes("set"), -1),
        Op.create(place, bytes("1"), OPEN_ACL_UNSAFE, PERSISTENT),
        Op.check(place, 0),
        Op.delete(place + "/none", 0))));
    List<Integer> codes =
        error.getResults().stream().map(result -> ((OpResult.ErrorResult) result).getErr()).toList();
    int after = Code.RUNTIMEINCONSISTENCY.intValue();
    Check.equal(List.of(0, 0, Code.NODEEXISTS.intValue(), after, after), codes);
    Check.equal(List.of(), zk.getChildren(place, false));
    Check.equal(0, zk.exists(place, false).getVersion());
    error = Check.fails(KeeperException.BadVersionException.class, () -> zk.multi(List.of(Op.check(place, 7))));
    Check.equal(1, error.getResults().size());
    Check.fails(KeeperException.NoNodeException.class, () -> zk.multi(List.of(Op.check(place + "/none", -1))));
  }

  private void multiCreates() throws Exception {
    String place = place("creates");
    List<OpResult> results = zk.multi(List.of(
        Op.create(place + "/s-", bytes("1"), OPEN_ACL_UNSAFE, PERSISTENT_SEQUENTIAL),
        Op.create(place + "/e-", bytes("1"), OPEN_ACL_UNSAFE, EPHEMERAL_SEQUENTIAL),
        Op.create(place + "/c", bytes("1"), OPEN_ACL_UNSAFE, CONTAINER),
        Op.create(place + "/t", bytes("1"), OPEN_ACL_UNSAFE, PERSISTENT_WITH_TTL, 3_600_000)));
    List<String> paths = new ArrayList<>();
    for (OpResult result : results) {
      paths.add(((OpResult.CreateResult) result).getPath());
    }
    Check.equal(List.of(place + "/s-0000000000", place + "/e-0000000001", place + "/c", place + "/t"), paths);
    Set<Long> zxids = new HashSet<>();
    for (String path : paths) {
      zxids.add(zk.exists(path, false).getCzxid());
    }
    Check.equal(1, zxids.size());
  }

  private void multiRead() throws Exception {
    String place = place("reads");
    create(place + "/a", PERSISTENT);
    List<OpResult> results = zk.multi(List.of(
        Op.getData(place + "/a"), Op.getChildren(place), Op.getData(place + "/none"), Op.getChildren(place + "/a")));
    OpResult.GetDataResult first = (OpResult.GetDataResult) results.get(0);
    Check.equal("x", new String(first.getData(), UTF_8));
    Check.equal(zk.exists(place + "/a", false), first.getStat());
    Check.equal(List.of("a"), ((OpResult.GetChildrenResult) results.get(1)).getChildren());
    Check.equal(Code.NONODE.intValue(), ((OpResult.ErrorResult) results.get(2)).getErr());
    Check.equal(List.of(), ((OpResult.GetChildrenResult) results.get(3)).getChildren());
  }

  private void access() throws Exception {
    String place = place("access");
    try (Handle owner = new Handle(check.server, TIMEOUT_MS)) {
      owner.zk.addAuthInfo("digest", bytes("me:secret"));
      owner.zk.create(place + "/mine", bytes("x"), CREATOR_ALL_ACL, PERSISTENT);
      Stat stat = new Stat();
      List<ACL> list = owner.zk.getACL(place + "/mine", stat);
      // echo -n me:secret | openssl sha1 -binary | base64
      Check.equal(List.of(new ACL(Perms.ALL, new Id("digest", "me:016djjlksVQS5RgX3M7biBGyYwY="))), list);
      Check.equal(0, stat.getAversion());
      List<String> who = owner.zk.whoAmI().stream().map(ClientInfo::getAuthScheme).sorted().toList();
      Check.equal(List.of("digest", "ip"), who);
      Check.equal(List.of("me"), owner.zk.whoAmI().stream().filter(info -> info.getAuthScheme().equals("digest"))
          .map(ClientInfo::getUser).toList());

      Check.fails(KeeperException.NoAuthException.class, () -> zk.getData(place + "/mine", false, null));
      Check.fails(KeeperException.NoAuthException.class, () -> zk.setData(place + "/mine", bytes("y"), -1));
      Check.fails(KeeperException.NoAuthException.class, () -> zk.getChildren(place + "/mine", false));
      Check.fails(KeeperException.NoAuthException.class, () -> create(place + "/mine/child", PERSISTENT));
      Check.fails(KeeperException.NoAuthException.class, () -> zk.setACL(place + "/mine", OPEN_ACL_UNSAFE, -1));
      Check.fails(KeeperException.NoAuthException.class, () -> zk.getACL(place + "/mine", null));
      Check.fails(KeeperException.NoAuthException.class, () -> zk.exists(place + "/mine", false));

      List<ACL> readable = Arrays.asList(CREATOR_ALL_ACL.get(0), new ACL(Perms.READ, new Id("world", "anyone")));
      Check.equal(1, owner.zk.setACL(place + "/mine", readable, 0).getAversion());
      Check.equal("x", new String(zk.getData(place + "/mine", false, null), UTF_8));
      Check.fails(KeeperException.NoAuthException.class, () -> zk.setData(place + "/mine", bytes("y"), -1));
      // Who may read but not administer does not see the digest.
      List<String> shown = zk.getACL(place + "/mine", null).stream().map(acl -> acl.getId().getId()).toList();
      Check.equal(List.of("me:x", "anyone"), shown);

      List<ACL> here = Arrays.asList(new ACL(Perms.READ, new Id("ip", "127.0.0.0/8")), CREATOR_ALL_ACL.get(0));
      owner.zk.create(place + "/ip", bytes("x"), here, PERSISTENT);
      Check.equal("x", new String(zk.getData(place + "/ip", false, null), UTF_8));
      owner.zk.delete(place + "/mine", -1);
    }
    Handle other = new Handle(check.server, TIMEOUT_MS);
    other.zk.addAuthInfo("nonsense", bytes("x"));
    other.is(KeeperState.AuthFailed);
    other.close();
  }

  private void oneShot() throws Exception {
    String place = place("one-shot");
    Heard data = new Heard();
    Heard exists = new Heard();
    Heard children = new Heard();
    zk.exists(place + "/a", exists);
    zk.getChildren(place, children);
    create(place + "/a", PERSISTENT);
    exists.next("NodeCreated " + place + "/a");
    children.next("NodeChildrenChanged " + place);
    zk.getData(place + "/a", data, null);
    zk.exists(place + "/a", data);
    zk.setData(place + "/a", bytes("y"), -1);
    data.next("NodeDataChanged " + place + "/a");
    zk.setData(place + "/a", bytes("z"), -1);
    zk.getData(place + "/a", data, null);
    zk.getChildren(place + "/a", children);
    zk.delete(place + "/a", -1);
    data.next("NodeDeleted " + place + "/a");
    children.next("NodeDeleted " + place + "/a");
    for (Heard heard : List.of(data, exists, children)) {
      heard.nothing();
    }
  }

  private void persistent() throws Exception {
    String place = place("persistent");
    Heard heard = new Heard();
    zk.addWatch(place, heard, AddWatchMode.PERSISTENT);
    create(place + "/a", PERSISTENT);
    heard.next("NodeChildrenChanged " + place);
    zk.setData(place, bytes("y"), -1);
    heard.next("NodeDataChanged " + place);
    zk.setData(place + "/a", bytes("y"), -1);
    zk.delete(place + "/a", -1);
    heard.next("NodeChildrenChanged " + place);
    zk.delete(place, -1);
    heard.next("NodeDeleted " + place);
    create(place, PERSISTENT);
    heard.next("NodeCreated " + place);
    heard.nothing();
  }

  private void recursive() throws Exception {
    String place = place("recursive");
    Heard heard = new Heard();
    zk.addWatch(place, heard, AddWatchMode.PERSISTENT_RECURSIVE);
    create(place + "/a", PERSISTENT);
    heard.next("NodeCreated " + place + "/a");
    create(place + "/a/b", PERSISTENT);
    heard.next("NodeCreated " + place + "/a/b");
    zk.setData(place + "/a/b", bytes("y"), -1);
    heard.next("NodeDataChanged " + place + "/a/b");
    zk.multi(List.of(Op.delete(place + "/a/b", -1), Op.delete(place + "/a", -1)));
    heard.next("NodeDeleted " + place + "/a/b");
    heard.next("NodeDeleted " + place + "/a");
    create(place + "-beside", PERSISTENT);
    zk.setData(place, bytes("y"), -1);
    heard.next("NodeDataChanged " + place);
    heard.nothing();
  }

  private void removeWatches() throws Exception {
    String place = place("remove");
    Heard one = new Heard();
    Heard two = new Heard();
    zk.getData(place, one, null);
    zk.getChildren(place, two);
    zk.removeWatches(place, one, WatcherType.Data, false);
    one.next("DataWatchRemoved " + place);
    Check.fails(KeeperException.NoWatcherException.class, () -> zk.removeWatches(place, one, WatcherType.Any, false));
    zk.removeAllWatches(place, WatcherType.Children, false);
    two.next("ChildWatchRemoved " + place);
    zk.addWatch(place, one, AddWatchMode.PERSISTENT);
    zk.addWatch(place, two, AddWatchMode.PERSISTENT_RECURSIVE);
    zk.removeAllWatches(place, WatcherType.Any, false);
    one.next("PersistentWatchRemoved " + place);
    two.next("PersistentWatchRemoved " + place);
    zk.setData(place, bytes("y"), -1);
    create(place + "/child", PERSISTENT);
    zk.sync(place, (code, path, context) -> { }, null);
    zk.exists(place, false);
    one.nothing();
    two.nothing();
    Check.fails(KeeperException.NoWatcherException.class,
        () -> zk.removeAllWatches(place + "/none", WatcherType.Any, false));
  }

  private void counts() throws Exception {
    String place = place("counts");
    try (Handle other = new Handle(check.server, TIMEOUT_MS)) {
      for (String name : List.of("a", "b")) {
        create(place + "/" + name, PERSISTENT);
        other.zk.create(place + "/" + name + "/e", null, OPEN_ACL_UNSAFE, EPHEMERAL);
      }
      create(place + "/mine", EPHEMERAL);
      Check.equal(Set.of(place + "/a/e", place + "/b/e"), Set.copyOf(other.zk.getEphemerals()));
      Check.equal(List.of(place + "/b/e"), other.zk.getEphemerals(place + "/b"));
      Check.equal(List.of(place + "/mine"), zk.getEphemerals(place));
      Check.equal(5, zk.getAllChildrenNumber(place));
      Check.equal(0, zk.getAllChildrenNumber(place + "/mine"));
      Check.that(zk.getAllChildrenNumber("/") > 6, "all are below /");
    }
    Check.equal(3, zk.getAllChildrenNumber(place));
  }

  private void pipelined() throws Exception {
    String place = place("pipelined");
    int count = 2_000;
    List<Integer> answers = Collections.synchronizedList(new ArrayList<>());
    CountDownLatch done = new CountDownLatch(3 * count);
    for (int i = 0; i < count; i++) {
      String path = place + "/" + i;
      zk.create(path, bytes("" + i), OPEN_ACL_UNSAFE, PERSISTENT, (code, asked, context, name) -> {
        answers.add(code == 0 && name.equals(path) ? (Integer) context : -1);
        done.countDown();
      }, 3 * i);
      zk.getData(path, false, (code, asked, context, data, stat) -> {
        answers.add(code == 0 && path.endsWith("/" + new String(data, UTF_8)) ? (Integer) context : -1);
        done.countDown();
      }, 3 * i + 1);
      AsyncCallback.VoidCallback synced = (code, asked, context) -> {
        answers.add(code == 0 ? (Integer) context : -1);
        done.countDown();
      };
      if (i % 2 == 0) {
        zk.sync(path, synced, 3 * i + 2);
      } else {
        zk.delete(path, 0, synced, 3 * i + 2);
      }
    }
    Check.that(done.await(Check.PATIENCE_MS, TimeUnit.MILLISECONDS), "all are answered");
    Check.equal(IntStream.range(0, 3 * count).boxed().toList(), answers);
    Check.equal(count / 2, zk.getChildren(place, false).size());
  }

  private void largeList() throws Exception {
    String place = place("large");
    int count = 20_000;
    CountDownLatch done = new CountDownLatch(count);
    String prefix = place + "/a-child-with-a-rather-long-name-";
    for (int i = 0; i < count; i++) {
      zk.create(prefix, null, OPEN_ACL_UNSAFE, PERSISTENT_SEQUENTIAL,
          (code, path, context, name) -> done.countDown(), null);
    }
    Check.that(done.await(Check.PATIENCE_MS, TimeUnit.MILLISECONDS), "all are there");
    Stat stat = new Stat();
    Set<String> names = new HashSet<>(zk.getChildren(place, false, stat));
    Check.equal(count, names.size());
    Check.equal(count, stat.getNumChildren());
    Check.equal(count, stat.getCversion());
  }

  private void largeData() throws Exception {
    String place = place("large-data");
    try (Handle other = new Handle(check.server, TIMEOUT_MS)) {
      byte[] data = new byte[1_000_000];
      data[999_999] = 7;
      other.zk.setData(place, data, -1);
      byte[] found = other.zk.getData(place, false, null);
      Check.equal(List.of(1_000_000, (byte) 7), List.of(found.length, found[999_999]));
      // Beyond jute.maxbuffer the server closes; the session goes on.
      Check.fails(KeeperException.ConnectionLossException.class,
          () -> other.zk.setData(place, new byte[2_000_000], -1));
      other.is(KeeperState.SyncConnected);
      Check.equal(1, other.zk.exists(place, false).getVersion());
    }
  }

  private void unicode() throws Exception {
    String place = place("unicode");
    for (String name : List.of("grün", "日本語", "с пробелом", "中-é", "a\u0301")) {
      String path = create(place + "/" + name, PERSISTENT);
      zk.setData(path, bytes(name), 0);
      Check.equal(name, new String(zk.getData(path, false, null), UTF_8));
      Heard heard = new Heard();
      zk.exists(path, heard);
      zk.setData(path, bytes("!"), 1);
      heard.next("NodeDataChanged " + path);
    }
    Check.equal(Set.of("grün", "日本語", "с пробелом", "中-é", "a\u0301"),
        Set.copyOf(zk.getChildren(place, false)));
  }

  private void chroot() throws Exception {
    String place = place("chroot");
    try (Handle inner = new Handle(check.server + place, TIMEOUT_MS)) {
      Heard heard = new Heard();
      inner.zk.getChildren("/", heard);
      Check.equal("/a", inner.zk.create("/a", bytes("x"), OPEN_ACL_UNSAFE, EPHEMERAL));
      heard.next("NodeChildrenChanged /");
      inner.zk.exists("/a", heard);
      zk.setData(place + "/a", bytes("y"), -1);
      heard.next("NodeDataChanged /a");
      Check.equal(1, inner.zk.getEphemerals("/").size());
      inner.zk.multi(List.of(Op.create("/b", null, OPEN_ACL_UNSAFE, PERSISTENT)));
      Check.that(zk.exists(place + "/b", false) != null, "what a multi made is below the root");
      inner.zk.addWatch("/", heard, AddWatchMode.PERSISTENT_RECURSIVE);
      create(place + "/c", PERSISTENT);
      heard.next("NodeCreated /c");
    }
    try (Handle nowhere = new Handle(check.server + place + "/none", TIMEOUT_MS)) {
      Check.fails(KeeperException.NoNodeException.class,
          () -> nowhere.zk.create("/a", null, OPEN_ACL_UNSAFE, PERSISTENT));
    }
  }

  private void configuration() throws Exception {
    Stat stat = new Stat();
    Check.equal("", new String(zk.getConfig(false, stat), UTF_8));
    try (ZooKeeperAdmin admin = new ZooKeeperAdmin(check.server, TIMEOUT_MS, event -> { })) {
      Check.fails(KeeperException.ReconfigDisabledException.class,
          () -> admin.reconfigure("server.2=127.0.0.1:1:2", null, null, -1, null));
    }
  }

  private void move() throws Exception {
    String place = place("move");
    Handle first = new Handle(check.server, TIMEOUT_MS);
    first.zk.create(place + "/e", null, OPEN_ACL_UNSAFE, EPHEMERAL);
    Handle second = new Handle(check.server, first.zk.getSessionId(), first.zk.getSessionPasswd());
    second.is(KeeperState.SyncConnected);
    Check.equal(first.zk.getSessionId(), second.zk.getSessionId());
    // The first connection ends; its handle comes back and takes the session again, and so on.
    first.is(KeeperState.Disconnected);
    Check.equal(first.zk.getSessionId(), zk.exists(place + "/e", false).getEphemeralOwner());
    first.close();
    second.zk.close();
    Check.until("the ephemeral ends", () -> zk.exists(place + "/e", false) == null);
  }

  private void expiry() throws Exception {
    String place = place("expiry");
    Heard heard = new Heard();
    try (Wire wire = new Wire(check.server)) {
      Handle handle = new Handle(wire.address(), TIMEOUT_MS);
      handle.zk.create(place + "/e", null, OPEN_ACL_UNSAFE, EPHEMERAL);
      zk.exists(place + "/e", heard);
      wire.cut();
      handle.is(KeeperState.Disconnected);
      Handle other = new Handle(check.server, handle.zk.getSessionId(), handle.zk.getSessionPasswd());
      other.is(KeeperState.SyncConnected);
      other.close();
      heard.next("NodeDeleted " + place + "/e");
      wire.mend();
      handle.is(KeeperState.Expired);
      Check.fails(KeeperException.SessionExpiredException.class, () -> handle.zk.exists("/", false));
      handle.close();
    }
    // And by time: the wire stays cut for longer than the session may be silent.
    try (Wire wire = new Wire(check.server)) {
      Handle handle = new Handle(wire.address(), 2_000);
      Check.equal(2_000, handle.zk.getSessionTimeout());
      handle.zk.create(place + "/e2", null, OPEN_ACL_UNSAFE, EPHEMERAL);
      zk.exists(place + "/e2", heard);
      wire.cut();
      heard.next("NodeDeleted " + place + "/e2");
      wire.mend();
      handle.is(KeeperState.Expired);
      handle.close();
    }
  }

  private void wrongPassword() throws Exception {
    long session = zk.getSessionId();
    try (Handle handle = new Handle(check.server, zk.getSessionId(), bytes("0123456789abcdef"))) {
      handle.is(KeeperState.Expired);
    }
    // On Apache the owner's connection is closed all the same; it comes back.
    isBack("/");
    Check.equal(session, zk.getSessionId());
  }

  /** Holds an ephemeral until it is killed. */
  static void holder(String server, String path) throws Exception {
    Handle handle = new Handle(server, 2_000);
    handle.zk.create(path, null, OPEN_ACL_UNSAFE, EPHEMERAL);
    System.out.println("holds");
    Thread.sleep(Long.MAX_VALUE);
  }

  private void killed() throws Exception {
    String place = place("killed");
    Process process = Check.process("holder", check.server, place + "/e");
    try {
      Check.equal("holds", process.inputReader().readLine());
      Heard heard = new Heard();
      Check.that(zk.exists(place + "/e", heard) != null, "it is there");
      process.destroyForcibly();
      heard.next("NodeDeleted " + place + "/e");
    } finally {
      process.destroyForcibly();
    }
  }

  private void missedEvents() throws Exception {
    String place = place("missed");
    for (String name : List.of("data", "children", "deleted", "persistent", "recursive", "quiet")) {
      create(place + "/" + name, PERSISTENT);
    }
    try (Wire wire = new Wire(check.server); Handle handle = new Handle(wire.address(), TIMEOUT_MS)) {
      Heard heard = new Heard();
      Heard stays = new Heard();
      handle.zk.getData(place + "/data", heard, null);
      handle.zk.getChildren(place + "/children", heard);
      handle.zk.exists(place + "/created", heard);
      handle.zk.getData(place + "/deleted", heard, null);
      handle.zk.getData(place + "/quiet", heard, null);
      handle.zk.addWatch(place + "/persistent", stays, AddWatchMode.PERSISTENT);
      handle.zk.addWatch(place + "/recursive", stays, AddWatchMode.PERSISTENT_RECURSIVE);
      wire.cut();
      handle.is(KeeperState.Disconnected);
      zk.setData(place + "/data", bytes("y"), -1);
      create(place + "/children/a", PERSISTENT);
      create(place + "/created", PERSISTENT);
      zk.delete(place + "/deleted", -1);
      wire.mend();
      handle.is(KeeperState.SyncConnected);
      Set<String> missed = new HashSet<>();
      for (int i = 0; i < 4; i++) {
        missed.add(heard.events.poll(Check.PATIENCE_MS, TimeUnit.MILLISECONDS));
      }
      Check.equal(Set.of("NodeDataChanged " + place + "/data", "NodeChildrenChanged " + place + "/children",
          "NodeCreated " + place + "/created", "NodeDeleted " + place + "/deleted"), missed);
      // Those that nothing happened to are still set.
      zk.setData(place + "/quiet", bytes("y"), -1);
      heard.next("NodeDataChanged " + place + "/quiet");
      zk.setData(place + "/persistent", bytes("y"), -1);
      stays.next("NodeDataChanged " + place + "/persistent");
      create(place + "/recursive/a", PERSISTENT);
      stays.next("NodeCreated " + place + "/recursive/a");
      heard.nothing();
      stays.nothing();
    }
  }

  private void restart() throws Exception {
    String place = place("restart");
    try (Handle handle = new Handle(check.server, TIMEOUT_MS)) {
      ZooKeeper other = handle.zk;
      other.addAuthInfo("digest", bytes("me:secret"));
      other.create(place + "/e", bytes("kept"), CREATOR_ALL_ACL, EPHEMERAL);
      Stat before = other.exists(place + "/e", false);
      Heard heard = new Heard();
      Heard stays = new Heard();
      // So many watches that they take several messages when they are set again.
      for (int i = 0; i < 4_000; i++) {
        other.exists(place + "/not-there-with-a-name-that-is-rather-long-" + i, heard, (c, p, x, s) -> { }, null);
      }
      other.getData(place, heard, null);
      other.getChildren(place, heard);
      other.addWatch(place, stays, AddWatchMode.PERSISTENT_RECURSIVE);
      long session = other.getSessionId();
      check.restartServer();
      handle.is(KeeperState.SyncConnected);
      Check.equal(session, other.getSessionId());
      Check.equal(before, other.exists(place + "/e", false));
      // The credentials were sent again.
      Check.equal("kept", new String(other.getData(place + "/e", false, null), UTF_8));
      isBack(place);
      String last = place + "/not-there-with-a-name-that-is-rather-long-3999";
      zk.create(last, null, OPEN_ACL_UNSAFE, PERSISTENT);
      zk.setData(place, bytes("y"), -1);
      stays.next("NodeCreated " + last);
      stays.next("NodeDataChanged " + place);
      Set<String> found = new HashSet<>();
      for (int i = 0; i < 3; i++) {
        found.add(heard.events.poll(Check.PATIENCE_MS, TimeUnit.MILLISECONDS));
      }
      Check.equal(Set.of("NodeCreated " + last, "NodeDataChanged " + place, "NodeChildrenChanged " + place), found);
      heard.nothing();
    }
    Check.until("the session is closed", () -> zk.exists(place + "/e", false) == null);
  }
}
