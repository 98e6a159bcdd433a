import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.RetryNTimes;

/** What the checks of Curator's recipes share: a client, a second one, and threads. */
abstract class Recipe {
  static final int TIMEOUT_MS = 30_000;

  final Check check;
  CuratorFramework one;
  CuratorFramework two;
  final ExecutorService threads = Executors.newCachedThreadPool();

  Recipe(Check check) {
    this.check = check;
  }

  abstract void steps();

  final void run() throws Exception {
    one = client(check.server, TIMEOUT_MS);
    two = client(check.server, TIMEOUT_MS);
    steps();
    threads.shutdownNow();
    one.close();
    two.close();
  }

  static CuratorFramework client(String server, int timeoutMs) throws InterruptedException {
    CuratorFramework client = CuratorFrameworkFactory.builder().connectString(server).sessionTimeoutMs(timeoutMs)
        .connectionTimeoutMs(15_000).retryPolicy(new RetryNTimes(300, 100)).build();
    client.start();
    client.blockUntilConnected();
    return client;
  }

  String place(String name) {
    return check.root + "-" + getClass().getSimpleName() + "/" + name;
  }

  static byte[] bytes(String text) {
    return text.getBytes(UTF_8);
  }

  boolean exists(String path) throws Exception {
    return one.checkExists().forPath(path) != null;
  }
}
