// SPDX-License-Identifier: Apache-2.0

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.WindowedSerdes;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.RocksDBConfigSetter;
import org.apache.kafka.streams.state.SessionStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.Cache;
import org.rocksdb.LRUCache;
import org.rocksdb.Options;
import org.rocksdb.WriteBufferManager;

/**
 * Kafka Streams' side of the benchmarks: the topologies of benchmarks/app, by the same names, run on the same orders
 * from standard input: "run APPLICATION OUTPUT", answered by "running", and "stop", answered by "stopped".
 */
public final class Peer {
  private static final Duration RETENTION = Duration.ofHours(1);

  private final Map<String, String> flags = new HashMap<>();
  private KafkaStreams streams;

  public static void main(String[] args) throws Exception {
    Peer p = new Peer();
    for (int i = 0; i + 1 < args.length; i += 2) {
      p.flags.put(args[i].substring(1), args[i + 1]);
    }
    BufferedReader orders = new BufferedReader(new InputStreamReader(System.in));
    for (String line = orders.readLine(); line != null; line = orders.readLine()) {
      String[] words = line.split(" ");
      if (words[0].equals("run")) {
        p.run(words[1], words[2]);
        System.out.println("running");
      } else {
        // Else the next run under this id would wait for the session to end.
        p.streams.close(CloseOptions.timeout(Duration.ofMinutes(1))
            .withGroupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP));
        System.out.println("stopped");
      }
    }
    System.exit(0);
  }

  private boolean folded() {
    return flags.get("folded").equals("true");
  }

  private void run(String id, String output) throws Exception {
    Properties c = new Properties();
    c.put(StreamsConfig.APPLICATION_ID_CONFIG, id);
    c.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, flags.get("brokers"));
    c.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, flags.get("workers"));
    c.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, flags.get("commit"));
    c.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, folded() ? flags.get("cache") : "0");
    c.put(StreamsConfig.STATE_DIR_CONFIG, Path.of(flags.get("data"), id).toString());
    c.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.OPTIMIZE);
    c.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    c.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), flags.get("linger"));
    c.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), flags.get("batch"));
    c.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
    c.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
    if (!flags.get("memory").equals("0")) {
      Bounded.bytes = Long.parseLong(flags.get("memory"));
      c.put(StreamsConfig.ROCKSDB_CONFIG_SETTER_CLASS_CONFIG, Bounded.class);
    }
    if (!flags.get("stores").equals("rocksdb")) {
      c.put(StreamsConfig.DSL_STORE_SUPPLIERS_CLASS_CONFIG,
          org.apache.kafka.streams.state.BuiltInDslStoreSuppliers.InMemoryDslStoreSuppliers.class);
    }

    StreamsBuilder b = new StreamsBuilder();
    topology(b, output);
    streams = new KafkaStreams(b.build(c), c);
    CountDownLatch running = new CountDownLatch(1);
    streams.setStateListener((now, before) -> {
      if (now == KafkaStreams.State.RUNNING) {
        running.countDown();
      }
    });
    streams.start();
    if (!running.await(10, TimeUnit.MINUTES)) {
      throw new IllegalStateException("not running after 10 minutes: " + streams.state());
    }
  }

  private void topology(StreamsBuilder b, String output) {
    KStream<String, byte[]> in = b.stream(flags.get("input"), Consumed.with(Serdes.String(), Serdes.ByteArray()));
    Produced<String, Long> counts = Produced.with(Serdes.String(), Serdes.Long());
    switch (flags.get("topology")) {
      case "pass" -> in.filter((k, v) -> v[0] != '0')
          .mapValues(v -> Arrays.copyOfRange(v, 8, v.length))
          .to(output);
      case "count" -> in.groupByKey()
          .count(Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("counts"))
          .toStream().to(output, counts);
      case "count-window" -> {
        StoreBuilder<KeyValueStore<String, byte[]>> panes = Stores.keyValueStoreBuilder(
            Stores.persistentKeyValueStore("counts"), Serdes.String(), Serdes.ByteArray());
        if (folded()) {
          panes = panes.withCachingEnabled();
        }
        b.addStateStore(panes);
        in.process(CountWindow::new, "counts").to(output, Produced.with(Serdes.ByteArray(), Serdes.Long()));
      }
      case "tumbling" -> windowed(in, TimeWindows.ofSizeWithNoGrace(Duration.ofSeconds(10)), output);
      case "hopping" -> windowed(in,
          TimeWindows.ofSizeWithNoGrace(Duration.ofMinutes(1)).advanceBy(Duration.ofSeconds(10)), output);
      case "session" -> in.groupByKey()
          .windowedBy(SessionWindows.ofInactivityGapWithNoGrace(Duration.ofSeconds(5)))
          .count(Materialized.<String, Long, SessionStore<Bytes, byte[]>>as("counts").withRetention(RETENTION))
          .toStream().to(output, Produced.with(WindowedSerdes.sessionWindowedSerdeFrom(String.class), Serdes.Long()));
      case "stream-table" -> in.leftJoin(b.<String, byte[]>table(flags.get("table"), Materialized.as("users")), Peer::joined)
          .to(output);
      case "stream-stream" -> in.join(b.<String, byte[]>stream(flags.get("table")), Peer::joined,
              JoinWindows.ofTimeDifferenceWithNoGrace(Duration.ofSeconds(5)), StreamJoined.<String, byte[], byte[]>as("both"))
          .to(output);
      default -> throw new IllegalArgumentException("no topology " + flags.get("topology"));
    }
  }

  private static byte[] joined(byte[] value, byte[] user) {
    byte[] out = Arrays.copyOf(value, user == null ? 8 : 16);
    if (user != null) {
      System.arraycopy(user, 0, out, 8, 8);
    }
    return out;
  }

  private void windowed(KStream<String, byte[]> in, TimeWindows w, String output) {
    in.groupByKey().windowedBy(w)
        .count(Materialized.<String, Long, WindowStore<Bytes, byte[]>>as("counts").withRetention(RETENTION))
        .toStream().to(output, Produced.with(WindowedSerdes.timeWindowedSerdeFrom(String.class, w.sizeMs), Serdes.Long()));
  }

  /**
   * Kafka Streams has no windows of a number of records: this is what a program writes that needs them. A row holds the
   * start, the index and the records so far of the key's window; the result is sent when it is complete.
   */
  private static final class CountWindow implements Processor<String, byte[], byte[], Long> {
    private static final long SIZE = 100;
    private ProcessorContext<byte[], Long> context;
    private KeyValueStore<String, byte[]> store;

    @Override
    public void init(ProcessorContext<byte[], Long> context) {
      this.context = context;
      store = context.getStateStore("counts");
    }

    @Override
    public void process(Record<String, byte[]> r) {
      byte[] old = store.get(r.key());
      ByteBuffer row = old == null ? ByteBuffer.allocate(24) : ByteBuffer.wrap(old);
      long start = row.getLong(0);
      long index = row.getLong(8);
      long count = row.getLong(16);
      if (count == 0) {
        start = context.currentStreamTimeMs();
      }
      count++;
      if (count == SIZE) {
        byte[] key = r.key().getBytes(StandardCharsets.UTF_8);
        context.forward(r.withKey(ByteBuffer.allocate(key.length + 16).put(key).putLong(start).putLong(index).array())
            .withValue(count));
        index++;
        count = 0;
      }
      store.put(r.key(), ByteBuffer.allocate(24).putLong(start).putLong(index).putLong(count).array());
    }
  }

  /** One block cache for all stores, which write buffers count in, as Kafka's documentation bounds memory. */
  public static final class Bounded implements RocksDBConfigSetter {
    static long bytes;
    private static Cache cache;
    private static WriteBufferManager buffers;

    @Override
    public void setConfig(String store, Options options, Map<String, Object> configs) {
      synchronized (Bounded.class) {
        if (cache == null) {
          cache = new LRUCache(bytes, -1, false);
          buffers = new WriteBufferManager(bytes / 2, cache);
        }
      }
      BlockBasedTableConfig table = (BlockBasedTableConfig) options.tableFormatConfig();
      table.setBlockCache(cache);
      table.setCacheIndexAndFilterBlocks(true);
      table.setPinTopLevelIndexAndFilter(true);
      options.setWriteBufferManager(buffers);
      options.setTableFormatConfig(table);
    }

    @Override
    public void close(String store, Options options) {}
  }
}
