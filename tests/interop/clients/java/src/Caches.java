import static java.util.concurrent.TimeUnit.MILLISECONDS;

import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.stream.Stream;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.cache.ChildData;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.NodeCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;

/** Caches, on one-shot and on persistent watches. */
@SuppressWarnings("deprecation") // The old caches are what most programs have.
final class Caches extends Recipe {
  Caches(Check check) {
    super(check);
  }

  @Override
  void steps() {
    check.step("path children cache", this::pathChildren);
    check.step("tree cache", this::tree);
    check.step("node cache", this::node);
    check.step("Curator cache", this::curator);
    check.step("persistent watcher", this::persistentWatcher);
    check.step("caches over a cut wire and a restart", this::disturbed);
  }

  private static void next(String expected, BlockingQueue<String> events) throws InterruptedException {
    Check.equal(expected, events.poll(Check.PATIENCE_MS, MILLISECONDS));
  }

  private static String show(ChildData data) {
    return data == null ? "-" : data.getPath().replaceFirst(".*/", "") + "=" + new String(data.getData());
  }

  private void pathChildren() throws Exception {
    String place = place("children");
    one.create().creatingParentsIfNeeded().forPath(place + "/a", bytes("1"));
    BlockingQueue<String> events = new LinkedBlockingQueue<>();
    try (PathChildrenCache cache = new PathChildrenCache(two, place, true)) {
      cache.getListenable().addListener((client, event) -> events.add(event.getType() + " " + show(event.getData())));
      cache.start(PathChildrenCache.StartMode.POST_INITIALIZED_EVENT);
      next("CHILD_ADDED a=1", events);
      next("INITIALIZED -", events);
      one.create().forPath(place + "/b", bytes("2"));
      next("CHILD_ADDED b=2", events);
      one.setData().forPath(place + "/a", bytes("3"));
      next("CHILD_UPDATED a=3", events);
      one.delete().forPath(place + "/b");
      next("CHILD_REMOVED b=2", events);
      Check.equal(1, cache.getCurrentData().size());
    }
  }

  private void tree() throws Exception {
    String place = place("tree");
    one.create().creatingParentsIfNeeded().forPath(place, bytes("0"));
    BlockingQueue<String> events = new LinkedBlockingQueue<>();
    try (TreeCache cache = new TreeCache(two, place)) {
      cache.getListenable().addListener((client, event) -> events.add(event.getType() + " " + show(event.getData())));
      cache.start();
      next("NODE_ADDED tree=0", events);
      next("INITIALIZED -", events);
      one.create().forPath(place + "/a", bytes("1"));
      next("NODE_ADDED a=1", events);
      one.create().forPath(place + "/a/b", bytes("2"));
      next("NODE_ADDED b=2", events);
      one.setData().forPath(place + "/a/b", bytes("3"));
      next("NODE_UPDATED b=3", events);
      one.delete().deletingChildrenIfNeeded().forPath(place + "/a");
      next("NODE_REMOVED b=3", events);
      next("NODE_REMOVED a=1", events);
    }
  }

  private void node() throws Exception {
    String place = place("node");
    BlockingQueue<String> events = new LinkedBlockingQueue<>();
    try (NodeCache cache = new NodeCache(two, place)) {
      cache.getListenable().addListener(() -> events.add(show(cache.getCurrentData())));
      cache.start(true);
      one.create().creatingParentsIfNeeded().forPath(place, bytes("1"));
      next("node=1", events);
      one.setData().forPath(place, bytes("2"));
      next("node=2", events);
      one.delete().forPath(place);
      next("-", events);
    }
  }

  private void curator() throws Exception {
    String place = place("cache");
    one.create().creatingParentsIfNeeded().forPath(place, bytes("0"));
    BlockingQueue<String> events = new LinkedBlockingQueue<>();
    try (CuratorCache cache = CuratorCache.build(two, place)) {
      cache.listenable().addListener(CuratorCacheListener.builder()
          .forCreates(data -> events.add("created " + show(data)))
          .forChanges((old, data) -> events.add("changed " + show(old) + " " + show(data)))
          .forDeletes(data -> events.add("deleted " + show(data)))
          .forInitialized(() -> events.add("initialized")).build());
      cache.start();
      next("created cache=0", events);
      next("initialized", events);
      one.create().forPath(place + "/a", bytes("1"));
      next("created a=1", events);
      one.create().forPath(place + "/a/b", bytes("2"));
      next("created b=2", events);
      one.setData().forPath(place + "/a/b", bytes("3"));
      next("changed b=2 b=3", events);
      one.inTransaction().delete().forPath(place + "/a/b").and().delete().forPath(place + "/a").and().commit();
      next("deleted b=3", events);
      next("deleted a=1", events);
    }
  }

  private void persistentWatcher() throws Exception {
    String place = place("watcher");
    one.create().creatingParentsIfNeeded().forPath(place);
    BlockingQueue<String> events = new LinkedBlockingQueue<>();
    try (PersistentWatcher watcher = new PersistentWatcher(two, place, true)) {
      watcher.getListenable().addListener(event -> events.add(event.getType() + " " + event.getPath()));
      watcher.getResetListenable().addListener(() -> events.add("set"));
      watcher.start();
      next("set", events);
      one.create().forPath(place + "/a");
      next("NodeCreated " + place + "/a", events);
    }
  }

  /** A cache must become equal to what is there, whatever it missed. */
  private void disturbed() throws Exception {
    String place = place("disturbed");
    one.create().creatingParentsIfNeeded().forPath(place, bytes("0"));
    try (Wire wire = new Wire(check.server);
        CuratorFramework far = client(wire.address(), TIMEOUT_MS);
        CuratorCache cache = CuratorCache.build(far, place);
        TreeCache tree = new TreeCache(far, place)) {
      cache.start();
      tree.start();
      for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 20; i++) {
          String path = place + "/" + i;
          if (!exists(path)) {
            one.create().forPath(path, bytes("round " + round));
          } else if ((i + round) % 3 == 0) {
            one.delete().forPath(path);
          } else {
            one.setData().forPath(path, bytes("round " + round));
          }
          if (i == 5) {
            wire.cut();
          }
        }
        wire.mend();
        if (round == 1) {
          check.restartServer();
        }
        Map<String, String> expected = new TreeMap<>(Map.of(place, "0"));
        for (String name : one.getChildren().forPath(place)) {
          expected.put(place + "/" + name, new String(one.getData().forPath(place + "/" + name)));
        }
        Check.until("the Curator cache is as the tree: " + expected, () -> expected.equals(shown(cache.stream())));
        Check.until("the tree cache is as the tree: " + expected, () -> {
          Map<String, ChildData> children = tree.getCurrentChildren(place);
          return children != null && tree.getCurrentData(place) != null && expected.equals(
              shown(Stream.concat(Stream.of(tree.getCurrentData(place)), children.values().stream())));
        });
      }
    }
  }

  private static Map<String, String> shown(Stream<ChildData> data) {
    Map<String, String> shown = new TreeMap<>();
    data.forEach(each -> shown.put(each.getPath(), new String(each.getData())));
    return shown;
  }
}
