import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.Callable;

/**
 * {@code Check client|recipes HOST:PORT RESTART…}: what a client can do with a server, step by step.
 * {@code RESTART…} is the command that ends the server as a crash would and starts it again. Ends with 1 if a step
 * failed.
 */
final class Check {
  /** How long anything may take before a step gives up. Nothing is measured by it. */
  static final long PATIENCE_MS = 60_000;

  interface Step {
    void run() throws Exception;
  }

  final String server;
  private final List<String> restart;
  /** Below this every step makes its own znodes. */
  final String root = "/java-" + UUID.randomUUID();
  private int passed;
  private final List<String> failed = new ArrayList<>();

  private Check(String server, List<String> restart) {
    this.server = server;
    this.restart = restart;
  }

  public static void main(String[] arguments) throws Exception {
    Check check = new Check(arguments[1], Arrays.asList(arguments).subList(2, arguments.length));
    switch (arguments[0]) {
      case "client" -> new JavaClient(check).run();
      case "recipes" -> {
        new Locks(check).run();
        new Leaders(check).run();
        new Caches(check).run();
        new Nodes(check).run();
        new Discovery(check).run();
      }
      case "worker" -> Locks.worker(arguments[1], arguments[2], Integer.parseInt(arguments[3]));
      case "holder" -> JavaClient.holder(arguments[1], arguments[2]);
      default -> throw new IllegalArgumentException(arguments[0]);
    }
    System.out.printf("%s: %d steps passed, %d failed%n", arguments[0], check.passed, check.failed.size());
    // Threads of clients that a failed step left behind do not hold the end up.
    System.exit(check.failed.isEmpty() ? 0 : 1);
  }

  void step(String name, Step step) {
    try {
      step.run();
      passed++;
      System.out.println("ok " + name);
    } catch (Throwable error) {
      failed.add(name);
      System.out.println("FAILED " + name);
      error.printStackTrace(System.out);
    }
  }

  void restartServer() throws IOException, InterruptedException {
    int code = new ProcessBuilder(restart).inheritIO().start().waitFor();
    that(code == 0, "the server is back");
  }

  /** Another process of this program. */
  static Process process(String... arguments) throws IOException {
    List<String> command = new ArrayList<>(List.of(
        ProcessHandle.current().info().command().orElseThrow(), "-cp", System.getProperty("java.class.path"),
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "Check"));
    command.addAll(List.of(arguments));
    return new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
  }

  static void that(boolean holds, String what) {
    if (!holds) {
      throw new AssertionError(what);
    }
  }

  static void equal(Object expected, Object found) {
    that(Objects.equals(expected, found), "expected " + expected + ", found " + found);
  }

  /** Waits until it holds. */
  static void until(String what, Callable<Boolean> holds) throws Exception {
    long end = System.nanoTime() + PATIENCE_MS * 1_000_000;
    while (!holds.call()) {
      that(System.nanoTime() < end, "in time: " + what);
      Thread.sleep(20);
    }
  }

  static <E extends Exception> E fails(Class<E> type, Step step) {
    try {
      step.run();
    } catch (Exception error) {
      if (type.isInstance(error)) {
        return type.cast(error);
      }
      throw new AssertionError("expected " + type.getSimpleName() + ", found " + error, error);
    }
    throw new AssertionError("expected " + type.getSimpleName() + ", and it was done");
  }
}
