import java.util.Set;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.locks.LockSupport;
import java.util.function.IntFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Calls at a fixed rate, in an open loop: each call is made when it is due, whatever became of those before it.
 *
 * <p>Prints "failure SENT ADDRESS MESSAGE" for each call that fails, SENT being when it was sent in milliseconds of
 * the epoch and ADDRESS the provider's, or "none"; and each second "calls at=NOW ok=N failed=N rate=R p50=MS p99=MS"
 * of the whole run, and the addresses that answered in this second. Times count from when a call was due.
 */
final class Load {
    private static final Pattern PROVIDER = Pattern.compile("\\d+\\.\\d+\\.\\d+\\.\\d+:20880");
    private static final int WARM_UP = 200;
    private static final int SLOTS_PER_MS = 10;

    private final IntFunction<String> call;
    private final ExecutorService threads = Executors.newCachedThreadPool();
    private final AtomicLong ok = new AtomicLong();
    private final AtomicLong failed = new AtomicLong();
    /** How many calls took how many tenths of a millisecond; the last slot is for all that took longer. */
    private final AtomicLongArray took = new AtomicLongArray(2_000 * SLOTS_PER_MS);
    private volatile Set<String> answered = new ConcurrentSkipListSet<>();

    /** The call takes its number and returns the address that answered. */
    Load(IntFunction<String> call) {
        this.call = call;
    }

    void run(int rate) {
        // What a program does once, and what its compiler does at first, is no part of the rate.
        for (int i = 0; i < WARM_UP; i++) {
            try {
                call.apply(i);
            } catch (RuntimeException e) {
                System.out.println("warming up: " + e);
            }
        }
        long start = System.nanoTime();
        long report = start;
        for (int i = 0; ; i++) {
            long due = start + i * 1_000_000_000L / rate;
            for (long left; (left = due - System.nanoTime()) > 0; ) {
                LockSupport.parkNanos(left);
            }
            int number = i;
            threads.execute(() -> one(number, due));
            if (due - report > 1_000_000_000) {
                report = due;
                report(i / ((System.nanoTime() - start) / 1e9));
            }
        }
    }

    private void one(int number, long due) {
        long sent = System.currentTimeMillis();
        try {
            answered.add(call.apply(number));
            ok.incrementAndGet();
        } catch (RuntimeException e) {
            failed.incrementAndGet();
            Matcher provider = PROVIDER.matcher(e.toString());
            String message = e.toString().replace('\n', ' ');
            System.out.println("failure " + sent + " " + (provider.find() ? provider.group() : "none") + " "
                    + message.substring(0, Math.min(message.length(), 400)));
        }
        long slot = (System.nanoTime() - due) * SLOTS_PER_MS / 1_000_000;
        took.incrementAndGet((int) Math.min(slot, took.length() - 1));
    }

    private void report(double rate) {
        Set<String> now = answered;
        answered = new ConcurrentSkipListSet<>();
        System.out.println(String.format("calls at=%d ok=%d failed=%d rate=%.1f p50=%.1f p99=%.1f %s",
                System.currentTimeMillis(), ok.get(), failed.get(), rate, percentile(50), percentile(99),
                String.join(" ", now)));
    }

    private double percentile(int percent) {
        long all = 0;
        for (int i = 0; i < took.length(); i++) {
            all += took.get(i);
        }
        int slot = 0;
        for (long left = all * percent / 100 - took.get(0); left > 0 && slot < took.length() - 1; ) {
            left -= took.get(++slot);
        }
        return (slot + 1.0) / SLOTS_PER_MS;
    }
}
