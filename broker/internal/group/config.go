// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"log/slog"
	"math"
	"time"
)

// Config is what a Coordinator needs to know. The zero value of a field means
// the default in its comment, which is Kafka's own, unless it says otherwise.
type Config struct {
	Log        OffsetsLog // required
	Partitions int32      // 50: partitions of __consumer_offsets

	// InitialRebalanceDelay is how long the first rebalance of an empty group
	// waits for more members (KIP-134). 0 means no wait; Kafka's default for
	// group.initial.rebalance.delay.ms is 3s.
	InitialRebalanceDelay time.Duration
	MinSessionTimeout     time.Duration // 6s: group.min.session.timeout.ms
	MaxSessionTimeout     time.Duration // 30min: group.max.session.timeout.ms
	GroupMaxSize          int           // no limit: group.max.size, members a group
	OffsetRetention       time.Duration // 7 days: offsets.retention.minutes
	MaxMetadataBytes      int           // 4096: offset.metadata.max.bytes

	// Of consumer groups (KIP-848):
	ConsumerSessionTimeout    time.Duration   // 45s: group.consumer.session.timeout.ms
	ConsumerHeartbeatInterval time.Duration   // 5s: group.consumer.heartbeat.interval.ms
	ConsumerMaxSize           int             // no limit: group.consumer.max.size, members a group
	Migration                 MigrationPolicy // Bidirectional: group.consumer.migration.policy

	// ConsumerTimes returns the session timeout and the heartbeat interval of a
	// consumer group. It is called often, from many goroutines, and must not block.
	// Nil: the two above for all groups.
	ConsumerTimes func(group string) (session, heartbeat time.Duration)

	// MaxRecordBytes bounds one record and one Append, so that they fit into
	// a batch of the log: 1000000, within Kafka's default of
	// max.message.bytes. A group whose record is larger is refused its
	// assignment.
	MaxRecordBytes int

	// TopicName and TopicID resolve the topic ids of OffsetCommit and
	// OffsetFetch v10. They are called from many goroutines and must not
	// block for long. A nil TopicName means that no id is known; a nil
	// TopicID also that offsets are committed for a topic of any name.
	TopicName func(id [16]byte) (name string, ok bool)
	TopicID   func(name string) (id [16]byte, ok bool)

	// PartitionExists tells which partitions offsets may be committed for. It
	// is called like TopicID; nil means any of a topic that exists.
	PartitionExists func(topic string, partition int32) bool

	// Topics returns all topics as they are: the same picture until something
	// changes. It is called often, from many goroutines. Nil: no topics.
	Topics func() *Topics

	Logger *slog.Logger // slog.Default()
}

// withDefaults returns c with its zero fields filled in.
func (c Config) withDefaults() Config {
	if c.Partitions <= 0 {
		c.Partitions = 50
	}
	if c.MinSessionTimeout == 0 {
		c.MinSessionTimeout = 6 * time.Second
	}
	if c.MaxSessionTimeout == 0 {
		c.MaxSessionTimeout = 30 * time.Minute
	}
	if c.GroupMaxSize == 0 {
		c.GroupMaxSize = math.MaxInt
	}
	if c.OffsetRetention == 0 {
		c.OffsetRetention = 7 * 24 * time.Hour
	}
	if c.MaxMetadataBytes == 0 {
		c.MaxMetadataBytes = 4096
	}
	if c.ConsumerSessionTimeout == 0 {
		c.ConsumerSessionTimeout = 45 * time.Second
	}
	if c.ConsumerHeartbeatInterval == 0 {
		c.ConsumerHeartbeatInterval = 5 * time.Second
	}
	if c.ConsumerMaxSize == 0 {
		c.ConsumerMaxSize = math.MaxInt
	}
	if c.ConsumerTimes == nil {
		session, heartbeat := c.ConsumerSessionTimeout, c.ConsumerHeartbeatInterval
		c.ConsumerTimes = func(string) (time.Duration, time.Duration) { return session, heartbeat }
	}
	if c.Topics == nil {
		c.Topics = func() *Topics { return noTopics }
	}
	if c.MaxRecordBytes == 0 {
		c.MaxRecordBytes = 1_000_000
	}
	if c.TopicName == nil {
		c.TopicName = func([16]byte) (string, bool) { return "", false }
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// A MigrationPolicy says which groups may change between the classic and the
// consumer protocol while they have members. Empty ones always may.
type MigrationPolicy uint8

// The migration policies.
const (
	Bidirectional MigrationPolicy = iota // both ways
	Upgrade                              // from classic to consumer only
	Downgrade                            // from consumer to classic only
	Disabled                             // neither; nor do members of both kinds mix
)

func (p MigrationPolicy) upgrades() bool   { return p == Bidirectional || p == Upgrade }
func (p MigrationPolicy) downgrades() bool { return p == Bidirectional || p == Downgrade }

// A Record is one record of __consumer_offsets. A nil Value is a tombstone.
// Nobody changes Key or Value once the record was made.
type Record struct {
	Key, Value []byte
}

// An OffsetsLog is the log behind a Coordinator: the partitions of
// __consumer_offsets. For one partition the coordinator never calls Append and
// Replay, or either twice, at the same time; for different partitions it does.
type OffsetsLog interface {
	// Append writes recs in order and returns once they are below the high
	// watermark. After an error the records may or may not be in the log,
	// but which of the two is settled: a later Replay shows it.
	// It keeps neither recs nor the bytes in it after it has returned.
	Append(ctx context.Context, p int32, recs []Record) error

	// Replay calls fn with every record of partition p from the log start to
	// its end, in order. key and value are valid during the call only. The
	// timestamp is that of the record, in ms since the Unix epoch.
	Replay(ctx context.Context, p int32, fn func(key, value []byte, timestamp int64) error) error
}

// A Client is the sender of a request, as DescribeGroups shows it.
type Client struct {
	ID   string // client id of the request header
	Host string // address of the peer; Kafka writes it as "/10.0.0.7"
}
