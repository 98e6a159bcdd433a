import static java.util.concurrent.TimeUnit.MILLISECONDS;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreMutex;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;

/** Locks, semaphores and barriers, also between processes. */
final class Locks extends Recipe {
  Locks(Check check) {
    super(check);
  }

  @Override
  void steps() {
    check.step("mutex", this::mutex);
    check.step("mutex between processes, one of which dies", this::processes);
    check.step("mutex over a restart", this::restart);
    check.step("mutex of an expired session", this::expired);
    check.step("semaphore mutex and multi lock", this::others);
    check.step("read-write lock", this::readWrite);
    check.step("semaphore", this::semaphore);
    check.step("barriers", this::barriers);
  }

  private static boolean acquire(InterProcessMutex lock) throws Exception {
    return lock.acquire(Check.PATIENCE_MS, MILLISECONDS);
  }

  private void mutex() throws Exception {
    InterProcessMutex first = new InterProcessMutex(one, place("mutex"));
    InterProcessMutex second = new InterProcessMutex(two, place("mutex"));
    Check.that(acquire(first) && acquire(first), "it is reentrant");
    Check.that(!second.acquire(200, MILLISECONDS), "the other waits");
    Future<?> waiting = threads.submit(() -> {
      Check.that(acquire(second), "the other comes");
      second.release();
      return null;
    });
    Check.until("two stand in line", () -> first.getParticipantNodes().size() == 2);
    first.release();
    Check.that(!waiting.isDone(), "it is held twice");
    first.release();
    waiting.get(Check.PATIENCE_MS, MILLISECONDS);
    Check.until("nobody stands in line", () -> one.getChildren().forPath(place("mutex")).isEmpty());
    Check.until("the container of the lock ends", () -> !exists(place("mutex")));
  }

  /** Counts in a znode, without checking versions: only the lock keeps counts from being lost. */
  static void worker(String server, String path, int rounds) throws Exception {
    CuratorFramework client = client(server, 2_000);
    InterProcessMutex lock = new InterProcessMutex(client, path + "/lock");
    for (int i = 0; i < rounds; i++) {
      Check.that(acquire(lock), "the worker gets the lock");
      int count = Integer.parseInt(new String(client.getData().forPath(path + "/count")));
      client.setData().forPath(path + "/count", bytes("" + (count + 1)));
      lock.release();
    }
    // Whoever is killed here holds the lock.
    Check.that(acquire(lock), "the worker gets the lock");
    System.out.println("holds");
    System.in.read();
    lock.release();
    client.close();
  }

  private void processes() throws Exception {
    String place = place("processes");
    one.create().creatingParentsIfNeeded().forPath(place + "/count", bytes("0"));
    List<Process> workers = new ArrayList<>();
    try {
      for (int i = 0; i < 3; i++) {
        workers.add(Check.process("worker", check.server, place, "30"));
      }
      // One holds the lock at its end, and dies with it; the others go on, and let go when they are told to.
      List<Process> waiting = new ArrayList<>(workers);
      for (int i = 0; i < 3; i++) {
        Check.until("a worker holds", () -> waiting.stream().anyMatch(Locks::speaks));
        Process holder = waiting.stream().filter(Locks::speaks).findFirst().orElseThrow();
        waiting.remove(holder);
        Check.equal("holds", holder.inputReader().readLine());
        if (i == 0) {
          holder.destroyForcibly();
        } else {
          holder.getOutputStream().close();
          Check.equal(0, holder.waitFor());
        }
      }
    } finally {
      workers.forEach(Process::destroyForcibly);
    }
    Check.equal("90", new String(one.getData().forPath(place + "/count")));
  }

  private static boolean speaks(Process process) {
    try {
      return process.inputReader().ready();
    } catch (java.io.IOException error) {
      return false;
    }
  }

  private void restart() throws Exception {
    InterProcessMutex first = new InterProcessMutex(one, place("restart"));
    InterProcessMutex second = new InterProcessMutex(two, place("restart"));
    Check.that(acquire(first), "the first has it");
    Future<?> waiting = threads.submit(() -> {
      Check.that(acquire(second), "the second comes");
      second.release();
      return null;
    });
    Check.until("two stand in line", () -> first.getParticipantNodes().size() == 2);
    check.restartServer();
    Check.that(first.isAcquiredInThisProcess(), "the first still has it");
    Check.equal(2, first.getParticipantNodes().size());
    first.release();
    waiting.get(Check.PATIENCE_MS, MILLISECONDS);
  }

  private void expired() throws Exception {
    CuratorFramework victim = client(check.server, TIMEOUT_MS);
    InterProcessMutex first = new InterProcessMutex(victim, place("expired"));
    InterProcessMutex second = new InterProcessMutex(two, place("expired"));
    Check.that(acquire(first), "the first has it");
    victim.getZookeeperClient().getZooKeeper().getTestable().injectSessionExpiration();
    long session = victim.getZookeeperClient().getZooKeeper().getSessionId();
    byte[] password = victim.getZookeeperClient().getZooKeeper().getSessionPasswd();
    var closer = new org.apache.zookeeper.ZooKeeper(check.server, TIMEOUT_MS, event -> { }, session, password);
    Check.until("attached", () -> closer.getState().isConnected());
    closer.close();
    Check.that(acquire(second), "the second has it");
    second.release();
    Check.that(acquire(first = new InterProcessMutex(victim, place("expired"))), "a new session, a new lock");
    first.release();
    victim.close();
  }

  private void others() throws Exception {
    InterProcessSemaphoreMutex first = new InterProcessSemaphoreMutex(one, place("semaphore-mutex"));
    InterProcessSemaphoreMutex second = new InterProcessSemaphoreMutex(two, place("semaphore-mutex"));
    first.acquire();
    Check.that(!second.acquire(200, MILLISECONDS), "the other waits");
    first.release();
    Check.that(second.acquire(Check.PATIENCE_MS, MILLISECONDS), "the other comes");
    second.release();
    InterProcessMultiLock both = new InterProcessMultiLock(one, List.of(place("multi-a"), place("multi-b")));
    InterProcessMutex half = new InterProcessMutex(two, place("multi-b"));
    Check.that(acquire(half), "half is taken");
    Check.that(!both.acquire(300, MILLISECONDS), "both at once or none");
    half.release();
    Check.that(both.acquire(Check.PATIENCE_MS, MILLISECONDS), "both");
    Check.that(!half.acquire(200, MILLISECONDS), "both are taken");
    both.release();
  }

  private void readWrite() throws Exception {
    InterProcessReadWriteLock first = new InterProcessReadWriteLock(one, place("read-write"));
    InterProcessReadWriteLock second = new InterProcessReadWriteLock(two, place("read-write"));
    Check.that(acquire(first.readLock()) && acquire(second.readLock()), "many may read");
    Check.that(!second.writeLock().acquire(200, MILLISECONDS), "nobody may write");
    first.readLock().release();
    second.readLock().release();
    Check.that(acquire(first.writeLock()) && acquire(first.readLock()), "who writes may read");
    Check.that(!second.readLock().acquire(200, MILLISECONDS), "the other may not");
    first.writeLock().release();
    Check.that(acquire(second.readLock()), "the other may read");
    first.readLock().release();
    second.readLock().release();
  }

  private void semaphore() throws Exception {
    AtomicInteger inside = new AtomicInteger();
    AtomicInteger most = new AtomicInteger();
    List<Future<?>> all = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(i % 2 == 0 ? one : two, place("semaphore"), 3);
      all.add(threads.submit(() -> {
        for (int round = 0; round < 5; round++) {
          Lease lease = semaphore.acquire(Check.PATIENCE_MS, MILLISECONDS);
          most.accumulateAndGet(inside.incrementAndGet(), Math::max);
          Thread.sleep(5);
          inside.decrementAndGet();
          semaphore.returnLease(lease);
        }
        return null;
      }));
    }
    for (Future<?> each : all) {
      each.get(Check.PATIENCE_MS, MILLISECONDS);
    }
    Check.that(most.get() >= 2 && most.get() <= 3, "there were " + most + " inside");
  }

  private void barriers() throws Exception {
    DistributedBarrier barrier = new DistributedBarrier(one, place("barrier"));
    barrier.setBarrier();
    DistributedBarrier same = new DistributedBarrier(two, place("barrier"));
    Future<Boolean> waiting = threads.submit(() -> same.waitOnBarrier(Check.PATIENCE_MS, MILLISECONDS));
    Thread.sleep(200);
    Check.that(!waiting.isDone(), "it waits");
    barrier.removeBarrier();
    Check.that(waiting.get(), "it goes on");
    List<Future<?>> all = new ArrayList<>();
    AtomicInteger entered = new AtomicInteger();
    for (int i = 0; i < 4; i++) {
      DistributedDoubleBarrier twice = new DistributedDoubleBarrier(i % 2 == 0 ? one : two, place("double"), 4);
      all.add(threads.submit(() -> {
        Check.that(twice.enter(Check.PATIENCE_MS, MILLISECONDS), "all enter");
        entered.incrementAndGet();
        Check.that(twice.leave(Check.PATIENCE_MS, MILLISECONDS), "all leave");
        Check.equal(4, entered.get());
        return null;
      }));
    }
    for (Future<?> each : all) {
      each.get(2 * Check.PATIENCE_MS, MILLISECONDS);
    }
  }
}
