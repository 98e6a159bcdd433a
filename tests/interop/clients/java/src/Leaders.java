import static java.util.concurrent.TimeUnit.MILLISECONDS;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;

/** Elections. */
final class Leaders extends Recipe {
  Leaders(Check check) {
    super(check);
  }

  @Override
  void steps() {
    check.step("leader latch", this::latch);
    check.step("leader latch over a restart", this::restart);
    check.step("leader selector", this::selector);
  }

  private void latch() throws Exception {
    List<CuratorFramework> clients = new ArrayList<>();
    List<LeaderLatch> latches = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      clients.add(client(check.server, TIMEOUT_MS));
      latches.add(new LeaderLatch(clients.get(i), place("latch"), "candidate-" + i));
      latches.get(i).start();
    }
    Check.until("all take part", () -> latches.get(0).getParticipants().size() == 4);
    for (int left = 4; left > 0; left--) {
      Check.until("one leads", () -> latches.stream().filter(LeaderLatch::hasLeadership).count() == 1);
      LeaderLatch leader = latches.stream().filter(LeaderLatch::hasLeadership).findFirst().orElseThrow();
      for (LeaderLatch each : latches) {
        Check.equal(leader.getId(), each.getLeader().getId());
      }
      latches.remove(leader);
      leader.close();
    }
    clients.forEach(CuratorFramework::close);
  }

  private void restart() throws Exception {
    LeaderLatch first = new LeaderLatch(one, place("restart"), "first");
    LeaderLatch second = new LeaderLatch(two, place("restart"), "second");
    first.start();
    Check.that(first.await(Check.PATIENCE_MS, MILLISECONDS), "the first leads");
    second.start();
    Check.until("both take part", () -> first.getParticipants().size() == 2);
    check.restartServer();
    // A latch lets go when it hears that the connection is lost; then one of both leads again.
    Check.until("one leads again", () -> first.hasLeadership() ^ second.hasLeadership());
    Check.until("both take part again", () -> first.getParticipants().size() == 2);
    LeaderLatch leader = first.hasLeadership() ? first : second;
    LeaderLatch other = leader == first ? second : first;
    leader.close();
    Check.that(other.await(Check.PATIENCE_MS, MILLISECONDS), "the other follows");
    other.close();
  }

  private void selector() throws Exception {
    AtomicInteger leading = new AtomicInteger();
    BlockingQueue<String> terms = new LinkedBlockingQueue<>();
    List<LeaderSelector> selectors = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      String id = "candidate-" + i;
      LeaderSelector selector =
          new LeaderSelector(i % 2 == 0 ? one : two, place("selector"), new LeaderSelectorListenerAdapter() {
            @Override
            public void takeLeadership(CuratorFramework client) throws Exception {
              int now = leading.incrementAndGet();
              terms.add(now == 1 ? id : "more than one");
              Thread.sleep(20);
              leading.decrementAndGet();
            }
          });
      selector.setId(id);
      selector.autoRequeue();
      selector.start();
      selectors.add(selector);
    }
    Set<String> seen = ConcurrentHashMap.newKeySet();
    for (int i = 0; i < 9; i++) {
      String term = terms.poll(Check.PATIENCE_MS, MILLISECONDS);
      Check.that(term != null && term.startsWith("candidate"), "a term: " + term);
      seen.add(term);
    }
    Check.equal(3, seen.size());
    selectors.forEach(LeaderSelector::close);
  }
}
