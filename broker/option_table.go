// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	typeLong  = kmsg.ConfigTypeLong
	typeInt   = kmsg.ConfigTypeInt
	typeStr   = kmsg.ConfigTypeString
	typeList  = kmsg.ConfigTypeList
	typeBool  = kmsg.ConfigTypeBoolean
	typeFloat = kmsg.ConfigTypeDouble

	noLimit  = math.MaxInt64
	never    = "9223372036854775807"
	maxInt32 = math.MaxInt32
)

// options is the table of all configuration keys that the broker honours, those
// of topics by name, then those that only the broker has. Bounds and defaults
// are Kafka's where the text does not say otherwise.
var options = []option{
	{
		topic: "cleanup.policy", broker: "log.cleanup.policy", kind: typeList, def: "delete", allowed: []string{"delete", "compact"},
		doc: "What is done with old records: delete drops whole segments by retention.ms and retention.bytes, compact keeps the last record of each key. Both may be given.",
	},
	{
		topic: "compression.gzip.level", broker: "compression.gzip.level", kind: typeInt, def: "-1", min: -1, max: 9, refused: []string{"0"},
		doc: "Level of gzip from 1 to 9, where compression.type is gzip. -1 is gzip's default.",
	},
	{
		topic: "compression.lz4.level", broker: "compression.lz4.level", kind: typeInt, def: "9", min: 1, max: 17,
		doc: "Level of LZ4 from 1 to 17, where compression.type is lz4.",
	},
	{
		topic: "compression.type", broker: "compression.type", kind: typeStr, def: "producer", allowed: []string{"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"},
		doc: "How batches are stored: producer keeps what the producer has sent, the others pack each batch anew.",
	},
	{
		topic: "compression.zstd.level", broker: "compression.zstd.level", kind: typeInt, def: "3", min: -131072, max: 22,
		doc: "Level of zstd, where compression.type is zstd. Levels are mapped to the four that this broker's encoder has.",
	},
	{
		topic: "delete.retention.ms", broker: "log.cleaner.delete.retention.ms", kind: typeLong, def: "86400000", max: noLimit,
		doc: "How long a compacted topic keeps the record that says that a key was deleted.",
	},
	{
		topic: "file.delete.delay.ms", broker: "log.segment.delete.delay.ms", kind: typeLong, def: "60000", max: noLimit,
		doc: "How long the files of a segment stay once no new read can find it.",
	},
	{
		topic: "flush.messages", broker: "log.flush.interval.messages", kind: typeLong, def: never, min: 1, max: noLimit, static: (*Config).staticFlushMessages,
		doc: "How many records may be acknowledged without an fsync; 1 is an fsync for each batch. The broker's own flush policy holds besides.",
	},
	{
		topic: "flush.ms", broker: "log.flush.interval.ms", kind: typeLong, def: never, max: noLimit, elsewhere: inKafka("log.flush.scheduler.interval.ms", "9223372036854775807"), static: (*Config).staticFlushMs,
		doc: "How long a record may be acknowledged without an fsync. The broker's own flush policy holds besides.",
	},
	{
		topic: "index.interval.bytes", broker: "log.index.interval.bytes", kind: typeInt, def: "4096", max: maxInt32,
		doc: "Bytes of a segment between two entries of its indexes, of segments to come.",
	},
	{
		topic: "max.compaction.lag.ms", broker: "log.cleaner.max.compaction.lag.ms", kind: typeLong, def: never, min: 1, max: noLimit,
		doc: "How long a record may stay uncompacted, whatever the dirty ratio is.",
	},
	{
		topic: "max.message.bytes", broker: "message.max.bytes", kind: typeInt, def: "1048588", max: maxInt32,
		static: func(c *Config) string { return strconv.Itoa(c.MessageMaxBytes) },
		doc:    "The longest batch, as stored, that the topic takes.",
	},
	{
		topic: "message.timestamp.after.max.ms", broker: "log.message.timestamp.after.max.ms", kind: typeLong, def: "3600000", max: noLimit,
		doc: "How far the timestamp of a record may lie after the broker's clock, with create time.",
	},
	{
		topic: "message.timestamp.before.max.ms", broker: "log.message.timestamp.before.max.ms", kind: typeLong, def: never, max: noLimit,
		doc: "How far the timestamp of a record may lie before the broker's clock, with create time.",
	},
	{
		topic: "message.timestamp.type", broker: "log.message.timestamp.type", kind: typeStr, def: "CreateTime", allowed: []string{"CreateTime", "LogAppendTime"},
		doc: "CreateTime keeps the producer's timestamps, LogAppendTime replaces them by the time of the append.",
	},
	{
		topic: "min.cleanable.dirty.ratio", broker: "log.cleaner.min.cleanable.ratio", kind: typeFloat, def: "0.5", max: 1,
		doc: "Share of a log that must be uncompacted before it is compacted.",
	},
	{
		topic: "min.compaction.lag.ms", broker: "log.cleaner.min.compaction.lag.ms", kind: typeLong, def: "0", max: noLimit,
		doc: "How long a record stays uncompacted at least.",
	},
	{
		topic: "min.insync.replicas", broker: "min.insync.replicas", kind: typeInt, def: "1", min: 1, max: maxInt32,
		doc: "How many replicas must be in sync for a produce with acks=all to be taken. This broker has one.",
	},
	{
		topic: "preallocate", broker: "log.preallocate", kind: typeBool, def: "false",
		doc: "Accepted for tools that set it. Segments grow as they are written either way.",
	},
	{
		topic: "retention.bytes", broker: "log.retention.bytes", kind: typeLong, def: "-1", min: -noLimit, max: noLimit,
		doc: "Bytes a partition may have before its oldest segments are deleted, with policy delete. Below 0: no limit.",
	},
	{
		topic: "retention.ms", broker: "log.retention.ms", kind: typeLong, def: "604800000", min: -1, max: noLimit, elsewhere: inKafka("log.retention.hours", "168"),
		doc: "Age at which segments are deleted, with policy delete. -1: never.",
	},
	{
		topic: "segment.bytes", broker: "log.segment.bytes", kind: typeInt, def: "1073741824", min: 1 << 20, max: maxInt32,
		static: func(c *Config) string { return strconv.FormatInt(c.SegmentBytes, 10) },
		doc:    "Length at which a segment is closed and the next begun.",
	},
	{
		topic: "segment.index.bytes", broker: "log.index.size.max.bytes", kind: typeInt, def: "10485760", min: 4, max: maxInt32,
		doc: "Length of an index at which its segment is closed and the next begun.",
	},
	{
		topic: "segment.jitter.ms", broker: "log.roll.jitter.ms", kind: typeLong, def: "0", max: noLimit, elsewhere: inKafka("log.roll.jitter.hours", "0"),
		doc: "Up to how much segment.ms is shortened, by a random part of it for each partition, lest all roll at once.",
	},
	{
		topic: "segment.ms", broker: "log.roll.ms", kind: typeLong, def: "604800000", min: 1, max: noLimit, elsewhere: inKafka("log.roll.hours", "168"), static: (*Config).staticRollMs,
		doc: "Age at which a segment is closed and the next begun.",
	},
	{
		topic: "unclean.leader.election.enable", broker: "unclean.leader.election.enable", kind: typeBool, def: "false",
		doc: "Whether a replica that is not in sync may lead. With one replica there is none.",
	},

	{
		broker: "advertised.listeners", kind: typeList, none: true, fixed: true, static: func(c *Config) string { return "PLAINTEXT://" + c.Advertise },
		doc: "The address that clients are told to connect to.",
	},
	{
		broker: "auto.create.topics.enable", kind: typeBool, def: "true", fixed: true,
		static: func(c *Config) string { return strconv.FormatBool(c.AutoCreateTopics) },
		doc:    "Whether a topic is created when a client asks for its metadata.",
	},
	{
		broker: "broker.id", kind: typeInt, def: "-1", fixed: true, static: func(c *Config) string { return strconv.Itoa(int(c.NodeID)) },
		doc: "The id of this node.",
	},
	{
		broker: "connections.max.idle.ms", kind: typeLong, def: "600000", fixed: true,
		static: func(c *Config) string { return ms(c.IdleTimeout) },
		doc:    "How long a connection may be silent before it is closed.",
	},
	{
		broker: "default.replication.factor", kind: typeInt, def: "1", fixed: true,
		doc: "Replicas of a topic that is created without a number.",
	},
	{
		broker: "fetch.max.bytes", kind: typeInt, def: "57671680", fixed: true,
		static: func(c *Config) string { return strconv.Itoa(c.FetchMaxBytes) },
		doc:    "The longest answer to a fetch, but for a first batch that is longer.",
	},
	{
		broker: "group.consumer.heartbeat.interval.ms", group: "consumer.heartbeat.interval.ms", kind: typeInt, def: "5000", min: 1, max: maxInt32, fixed: true,
		static: func(c *Config) string { return ms(c.ConsumerHeartbeatInterval) },
		doc:    "How often the members of consumer groups are told to send a heartbeat.",
	},
	{
		broker: "group.consumer.max.heartbeat.interval.ms", kind: typeInt, def: "15000", fixed: true,
		static: func(c *Config) string { return ms(c.ConsumerMaxHeartbeatInterval) },
		doc:    "The most that a group's own heartbeat interval may be.",
	},
	{
		broker: "group.consumer.max.session.timeout.ms", kind: typeInt, def: "60000", fixed: true,
		static: func(c *Config) string { return ms(c.ConsumerMaxSessionTimeout) },
		doc:    "The most that a group's own session timeout may be.",
	},
	{
		broker: "group.consumer.max.size", kind: typeInt, def: "2147483647", fixed: true,
		static: func(c *Config) string { return strconv.Itoa(c.ConsumerGroupMaxSize) },
		doc:    "How many members a consumer group may have.",
	},
	{
		broker: "group.consumer.migration.policy", kind: typeStr, def: "bidirectional", fixed: true,
		static: func(c *Config) string { return c.ConsumerMigration.String() },
		doc:    "Which groups may change between the classic and the consumer protocol while they have members: bidirectional, upgrade, downgrade or disabled.",
	},
	{
		broker: "group.consumer.min.heartbeat.interval.ms", kind: typeInt, def: "5000", fixed: true,
		static: func(c *Config) string { return ms(c.ConsumerMinHeartbeatInterval) },
		doc:    "The least that a group's own heartbeat interval may be.",
	},
	{
		broker: "group.consumer.min.session.timeout.ms", kind: typeInt, def: "45000", fixed: true,
		static: func(c *Config) string { return ms(c.ConsumerMinSessionTimeout) },
		doc:    "The least that a group's own session timeout may be.",
	},
	{
		broker: "group.consumer.session.timeout.ms", group: "consumer.session.timeout.ms", kind: typeInt, def: "45000", min: 1, max: maxInt32, fixed: true,
		static: func(c *Config) string { return ms(c.ConsumerSessionTimeout) },
		doc:    "Silence after which a member of a consumer group is removed.",
	},
	{
		broker: "group.initial.rebalance.delay.ms", kind: typeInt, def: "3000", fixed: true,
		static: func(c *Config) string { return ms(c.GroupInitialRebalanceDelay) },
		doc:    "How long the first rebalance of an empty group waits for more members.",
	},
	{
		broker: "group.max.session.timeout.ms", kind: typeInt, def: "1800000", fixed: true,
		static: func(c *Config) string { return ms(c.GroupMaxSessionTimeout) },
		doc:    "The longest session timeout that a member may ask for.",
	},
	{
		broker: "group.max.size", kind: typeInt, def: "2147483647", fixed: true,
		static: func(c *Config) string { return strconv.Itoa(c.GroupMaxSize) },
		doc:    "How many members a classic group may have.",
	},
	{
		broker: "group.min.session.timeout.ms", kind: typeInt, def: "6000", fixed: true,
		static: func(c *Config) string { return ms(c.GroupMinSessionTimeout) },
		doc:    "The shortest session timeout that a member may ask for.",
	},
	{
		broker: "log.cleaner.backoff.ms", kind: typeLong, def: "15000", fixed: true,
		static: func(c *Config) string { return ms(c.CleanerBackoff) },
		doc:    "Pause between two searches for something to compact.",
	},
	{
		broker: "log.cleaner.dedupe.buffer.size", kind: typeLong, def: "134217728", fixed: true,
		static: func(c *Config) string { return strconv.FormatInt(c.CleanerMapBytes, 10) },
		doc:    "Bytes of the table of keys of a compaction. What has more keys is compacted in several rounds.",
	},
	{
		broker: "log.cleaner.enable", kind: typeBool, def: "true", fixed: true,
		doc: "Whether topics are compacted.",
	},
	{
		broker: "log.cleaner.io.max.bytes.per.second", kind: typeFloat, def: "1.7976931348623157E308", fixed: true,
		static: (*Config).staticCleanerRate,
		doc:    "Bytes a second that compactions read and write at most.",
	},
	{
		broker: "log.cleaner.threads", kind: typeInt, def: "1", fixed: true,
		doc: "How many partitions are compacted at a time.",
	},
	{
		broker: "log.dir", kind: typeList, def: "/tmp/kafka-logs", fixed: true,
		doc: "The data directory where log.dirs is not set, which it always is.",
	},
	{
		broker: "log.dirs", kind: typeList, none: true, fixed: true, static: func(c *Config) string { return c.Dir },
		doc: "The data directory. There is one.",
	},
	{
		broker: "log.retention.check.interval.ms", kind: typeLong, def: "300000", fixed: true,
		static: func(c *Config) string { return ms(c.RetentionCheckInterval) },
		doc:    "How often segments that are too old or too many are looked for.",
	},
	{
		broker: "max.connections", kind: typeInt, def: "2147483647", fixed: true,
		static: func(c *Config) string { return strconv.Itoa(c.MaxConnections) },
		doc:    "How many connections may be open.",
	},
	{
		broker: "max.incremental.fetch.session.cache.slots", kind: typeInt, def: "1000", fixed: true,
		static: func(c *Config) string { return strconv.Itoa(c.FetchSessions) },
		doc:    "How many incremental fetch sessions are kept.",
	},
	{
		broker: "node.id", kind: typeInt, none: true, fixed: true, static: func(c *Config) string { return strconv.Itoa(int(c.NodeID)) },
		doc: "The id of this node.",
	},
	{
		broker: "num.partitions", kind: typeInt, def: "1", fixed: true,
		static: func(c *Config) string { return strconv.Itoa(int(c.NumPartitions)) },
		doc:    "Partitions of a topic that is created without a number.",
	},
	{
		broker: "offset.metadata.max.bytes", kind: typeInt, def: "4096", fixed: true,
		static: func(c *Config) string { return strconv.Itoa(c.OffsetMetadataMaxBytes) },
		doc:    "The longest text that may come with a committed offset.",
	},
	{
		broker: "offsets.retention.minutes", kind: typeInt, def: "10080", fixed: true,
		static: func(c *Config) string { return strconv.Itoa(int(c.OffsetsRetention.Minutes())) },
		doc:    "How long committed offsets are kept once their group is empty.",
	},
	{
		broker: "offsets.topic.num.partitions", kind: typeInt, def: "50", fixed: true, static: func(c *Config) string { return strconv.Itoa(int(c.OffsetsPartitions)) },
		doc: "Partitions of the topic of committed offsets.",
	},
	{
		broker: "offsets.topic.replication.factor", kind: kmsg.ConfigTypeShort, def: "3", fixed: true, static: func(*Config) string { return "1" },
		doc: "Replicas of the topic of committed offsets.",
	},
	{
		broker: "producer.id.expiration.ms", kind: typeInt, def: "86400000", fixed: true,
		doc: "Silence after which an idempotent producer is forgotten.",
	},
	{
		broker: "queued.max.request.bytes", kind: typeLong, def: "-1", fixed: true,
		static: func(c *Config) string { return strconv.FormatInt(c.RequestMemory, 10) },
		doc:    "Bytes of all requests that are being read or handled.",
	},
	{
		broker: "socket.request.max.bytes", kind: typeInt, def: "104857600", fixed: true,
		static: func(c *Config) string { return strconv.Itoa(c.RequestMaxBytes) },
		doc:    "The longest request.",
	},
}

func inKafka(name, value string) setting {
	return setting{name, value, kmsg.ConfigSourceDefaultConfig}
}

// topicOption finds an option by its name on topics, or nil.
func topicOption(name string) *option {
	i := slices.IndexFunc(options, func(o option) bool { return o.topic == name })
	if i < 0 || name == "" {
		return nil
	}
	return &options[i]
}

// groupOption finds an option by its name on groups, or nil.
func groupOption(name string) *option {
	i := slices.IndexFunc(options, func(o option) bool { return o.group == name })
	if i < 0 || name == "" {
		return nil
	}
	return &options[i]
}

// brokerOption finds an option by its name on the broker, or nil.
func brokerOption(name string) *option {
	i := slices.IndexFunc(options, func(o option) bool { return o.broker == name })
	if i < 0 {
		return nil
	}
	return &options[i]
}

// staticFlushMessages and the like tell what the Config has under another shape.
func (c *Config) staticFlushMessages() string {
	if c.Flush.Mode == FlushBatch {
		return "1"
	}
	return ""
}

func (c *Config) staticFlushMs() string {
	if c.Flush.Mode == FlushInterval {
		return ms(c.Flush.Interval)
	}
	return ""
}

func (c *Config) staticCleanerRate() string {
	if c.CleanerBytesPerSecond == 0 {
		return ""
	}
	return strconv.FormatInt(c.CleanerBytesPerSecond, 10)
}

func (c *Config) staticRollMs() string {
	if c.SegmentAge == 7*24*time.Hour {
		return ""
	}
	return ms(c.SegmentAge)
}

func ms(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
