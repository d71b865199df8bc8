// The join of the benchmark in Kafka Streams: exposures with engagement by customer, within a window of event time.
//
// As its users would write it: the DSL's windowed KStream-KStream join, RocksDB stores with their changelogs, at least
// once, commits every 30 s (all defaults). Jackson's streaming parser reads each record once, without a tree; the stores
// hold the record's own bytes, so that writing costs no encoding. Fetches and buffers are larger than the defaults.
//
// With --exactly-once each match is a record of a topic, once, whatever dies (exactly_once_v2, commits every 100 ms, both
// defaults of that guarantee): what a reader of ours gets from the tables.

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.atomic.LongAdder;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.processor.TimestampExtractor;

public final class WindowedJoin {
    private static final JsonFactory JSON = new JsonFactory();
    private static final long LOOK_MS = 20;

    record Event(byte[] body, long at, String id, String model) {
        static Event of(byte[] body) {
            long at = 0;
            String id = null;
            String model = null;
            try (JsonParser parser = JSON.createParser(body)) {
                parser.nextToken();
                while (parser.nextToken() == JsonToken.FIELD_NAME) {
                    String name = parser.currentName();
                    parser.nextToken();
                    switch (name) {
                        case "occurred_at" -> at = Instant.parse(parser.getText()).toEpochMilli();
                        case "exposure_id", "event_id" -> id = parser.getText();
                        case "model_id" -> model = parser.getText();
                        default -> parser.skipChildren();
                    }
                }
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
            return new Event(body, at, id, model);
        }
    }

    record Match(String outcome, String model, String exposure, long exposureMs) {
        String line() {
            return "[\"" + outcome + "\", \"" + model + "\", \"" + exposure + "\", " + exposureMs + "]";
        }
    }

    // Public, because Kafka Streams makes it by name.
    public static final class EventTime implements TimestampExtractor {
        @Override
        public long extract(ConsumerRecord<Object, Object> record, long partitionTime) {
            return ((Event) record.value()).at();
        }
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, String> told = new HashMap<>();
        for (int i = 0; i + 1 < arguments.length; i += 2) {
            told.put(arguments[i].substring(2), arguments[i + 1]);
        }
        String prefix = told.get("prefix");
        told.putIfAbsent("group", prefix + UUID.randomUUID());
        if (!told.containsKey("folder")) {
            told.put("folder", Files.createTempDirectory("peer-").toString());
        }
        told.putIfAbsent("window-h", "168");
        told.putIfAbsent("grace-h", "24");
        boolean exactlyOnce = told.getOrDefault("exactly-once", "no").equals("yes");
        long expect = Long.parseLong(told.getOrDefault("expect", "0"));
        BufferedWriter matches = told.containsKey("matches")
            ? Files.newBufferedWriter(Path.of(told.get("matches") + "." + ProcessHandle.current().pid())) : null;
        LongAdder records = new LongAdder();
        LongAdder joined = new LongAdder();

        StreamsBuilder builder = new StreamsBuilder();
        Deserializer<Event> read = (topic, bytes) -> bytes == null ? null : Event.of(bytes);
        Serializer<Event> write = (topic, event) -> event == null ? null : event.body();
        Serde<Event> serde = Serdes.serdeFrom(write, read);
        Consumed<byte[], Event> consumed = Consumed.with(Serdes.ByteArray(), serde);
        KStream<byte[], Event> exposures =
            builder.stream(prefix + "edge.exposures", consumed).peek((key, event) -> records.increment());
        KStream<byte[], Event> engagement =
            builder.stream(prefix + "engagement.events", consumed).peek((key, event) -> records.increment());
        // An engagement from the exposure's time until the window later; nothing before it.
        JoinWindows window = JoinWindows
            .ofTimeDifferenceAndGrace(hours(told.get("window-h")), hours(told.get("grace-h")))
            .before(Duration.ZERO);
        KStream<byte[], Match> found = exposures
            .join(
                engagement,
                (exposure, outcome) -> new Match(outcome.id(), exposure.model(), exposure.id(), exposure.at()),
                window,
                StreamJoined.with(Serdes.ByteArray(), serde, serde))
            .peek((key, match) -> {
                joined.increment();
                if (matches != null) {
                    note(matches, match);
                }
            });
        if (exactlyOnce) {
            Serializer<Match> body = (topic, match) -> match == null ? null : match.line().getBytes(StandardCharsets.UTF_8);
            Deserializer<Match> unread = (topic, bytes) -> { throw new UnsupportedOperationException(topic); };
            found.to(prefix + "matches", Produced.with(Serdes.ByteArray(), Serdes.serdeFrom(body, unread)));
        }

        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, told.get("group"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, told.get("bootstrap"));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, told.get("folder"));
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, told.getOrDefault("threads", "1"));
        settings.put(StreamsConfig.DEFAULT_TIMESTAMP_EXTRACTOR_CLASS_CONFIG, EventTime.class);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, "1");
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, "5000");
        if (exactlyOnce) {
            settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        }
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), "5000");
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), "8388608");
        settings.put(StreamsConfig.producerPrefix("linger.ms"), "100");
        settings.put(StreamsConfig.producerPrefix("batch.size"), "262144");
        settings.put(StreamsConfig.producerPrefix("compression.type"), "lz4");

        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        tell(streams, expect, records, joined);
        if (matches != null) {
            matches.close();
        }
        streams.close(Duration.ofSeconds(30));
    }

    private static void tell(KafkaStreams streams, long expect, LongAdder records, LongAdder joined)
            throws InterruptedException {
        long first = 0;
        long told = 0;
        while (true) {
            long now = records.sum();
            if (now != told) {
                told = now;
                first = first == 0 ? System.nanoTime() : first;
                say(now, joined.sum(), first, "");
            }
            Thread.sleep(LOOK_MS);
            if (expect > 0 && told >= expect) {
                // What is counted before the join is done a moment after it was counted.
                say(records.sum(), joined.sum(), first,
                    String.format(Locale.ROOT, ", \"seconds\": %.3f, \"dropped\": %.0f", (System.nanoTime() - first) / 1e9, dropped(streams)));
                return;
            }
        }
    }

    // The JVM's nanoTime is the system's monotonic clock on Linux, as Python's is.
    private static void say(long records, long joined, long first, String more) {
        System.out.printf(Locale.ROOT, "{\"records\": %d, \"joined\": %d, \"first\": %.3f, \"at\": %.3f%s}%n",
            records, joined, first / 1e9, System.nanoTime() / 1e9, more);
        System.out.flush();
    }

    private static double dropped(KafkaStreams streams) {
        return streams.metrics().values().stream()
            .filter(metric -> metric.metricName().name().equals("dropped-records-total"))
            .mapToDouble(metric -> (Double) metric.metricValue())
            .sum();
    }

    private static synchronized void note(BufferedWriter file, Match match) {
        try {
            file.write(match.line() + "\n");
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static Duration hours(String text) {
        return Duration.ofSeconds(Math.round(Double.parseDouble(text) * 3600));
    }
}
