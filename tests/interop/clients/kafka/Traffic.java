import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * What a user does with Kafka.
 *
 * {@code Traffic BROKERS create TOPIC REPLICAS}: makes a topic of three partitions.
 * {@code Traffic BROKERS pass TOPIC FROM TO}: produces the numbers and waits until each has been consumed once.
 * {@code Traffic BROKERS all TOPIC COUNT}: waits until a new group has consumed so many different ones.
 * {@code Traffic BROKERS alive COUNT}: waits until so many brokers are there, and prints which is the controller.
 */
final class Traffic {
  private static final long PATIENCE_MS = 120_000;

  private static String brokers;

  public static void main(String[] arguments) throws Exception {
    brokers = arguments[0];
    switch (arguments[1]) {
      case "create" -> create(arguments[2], Short.parseShort(arguments[3]));
      case "pass" -> {
        int from = Integer.parseInt(arguments[3]);
        int to = Integer.parseInt(arguments[4]);
        List<String> wanted = new ArrayList<>();
        for (int i = from; i < to; i++) {
          wanted.add("message " + i);
        }
        produce(arguments[2], wanted);
        consume(arguments[2], "group", wanted.size(), wanted);
      }
      case "all" -> consume(arguments[2], "group-" + System.nanoTime(), Integer.parseInt(arguments[3]), List.of());
      case "alive" -> alive(Integer.parseInt(arguments[2]));
      default -> throw new IllegalArgumentException(arguments[1]);
    }
    System.exit(0);
  }

  private static Admin admin() {
    return Admin.create(Map.of("bootstrap.servers", brokers, "default.api.timeout.ms", "120000"));
  }

  private static void create(String topic, short replicas) throws Exception {
    try (Admin admin = admin()) {
      NewTopic wanted = new NewTopic(topic, Optional.of(3), Optional.of(replicas));
      admin.createTopics(List.of(wanted)).all().get(PATIENCE_MS, TimeUnit.MILLISECONDS);
    }
  }

  private static void produce(String topic, List<String> messages) throws Exception {
    Map<String, Object> settings = Map.of("bootstrap.servers", brokers, "acks", "all");
    try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
      var last = messages.stream().map(message -> producer.send(new ProducerRecord<>(topic, message, message))).toList();
      for (var each : last) {
        each.get(PATIENCE_MS, TimeUnit.MILLISECONDS);
      }
    }
  }

  private static void consume(String topic, String group, int count, Collection<String> wanted) {
    Map<String, Object> settings =
        Map.of("bootstrap.servers", brokers, "group.id", group, "auto.offset.reset", "earliest");
    List<String> found = new ArrayList<>();
    long end = System.nanoTime() + PATIENCE_MS * 1_000_000;
    try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
      consumer.subscribe(List.of(topic));
      while (found.size() < count && System.nanoTime() < end) {
        consumer.poll(Duration.ofMillis(200)).forEach(each -> found.add(each.value()));
      }
      consumer.commitSync();
    }
    boolean isRight = found.size() == count && found.stream().distinct().count() == count
        && (wanted.isEmpty() || found.containsAll(wanted));
    if (!isRight) {
      throw new AssertionError(found.size() + " messages instead of " + count);
    }
  }

  private static void alive(int count) throws Exception {
    try (Admin admin = admin()) {
      long end = System.nanoTime() + PATIENCE_MS * 1_000_000;
      while (System.nanoTime() < end) {
        var cluster = admin.describeCluster();
        if (cluster.nodes().get().size() == count && cluster.controller().get() != null) {
          System.out.println(cluster.controller().get().idString());
          return;
        }
        Thread.sleep(200);
      }
    }
    throw new AssertionError("there are not " + count + " brokers");
  }
}
