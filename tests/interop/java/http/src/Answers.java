import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;

/**
 * Calls a service over HTTP for ever, at 50 calls a second. Who answers says its own address.
 *
 * <p>Prints each second "NAME answered ADDRESS…", those of this second, and "NAME failed REASON" for each call that
 * failed.
 */
final class Answers {
    private Answers() {}

    static Thread of(String name, Callable<String> call) {
        Thread thread = new Thread(() -> run(name, call));
        thread.start();
        return thread;
    }

    private static void run(String name, Callable<String> call) {
        Set<String> answered = new TreeSet<>();
        for (int calls = 1; ; calls++) {
            try {
                answered.add(call.call());
                Thread.sleep(20);
            } catch (Exception e) {
                System.out.println(name + " failed " + e.toString().replace('\n', ' '));
                sleep();
            }
            if (calls % 50 == 0) {
                System.out.println(name + " answered " + String.join(" ", answered));
                answered.clear();
            }
        }
    }

    private static void sleep() {
        try {
            Thread.sleep(20);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
