import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * Calls a service over HTTP for ever, up to 50 times a second. Who answers says its own address.
 *
 * <p>Prints each second "NAME answered ADDRESS…", those of this second, and "NAME failed REASON" for each call that
 * failed.
 */
final class Answers {
    private Answers() {}

    static void of(String name, Callable<String> call) {
        new Thread(() -> run(name, call)).start();
    }

    private static void run(String name, Callable<String> call) {
        Set<String> answered = new TreeSet<>();
        long report = System.nanoTime();
        while (true) {
            try {
                answered.add(call.call());
            } catch (Exception e) {
                System.out.println(name + " failed " + e.toString().replace('\n', ' '));
            }
            LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(20));
            // By the clock: a call that finds no endpoint may wait for one.
            if (System.nanoTime() - report > TimeUnit.SECONDS.toNanos(1)) {
                report = System.nanoTime();
                System.out.println(name + " answered " + String.join(" ", answered));
                answered.clear();
            }
        }
    }
}
