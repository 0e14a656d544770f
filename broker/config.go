// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

// FlushMode says what an acknowledgement promises about the disk.
type FlushMode uint8

const (
	// FlushOS acknowledges once the batch is in the page cache, as Kafka does:
	// what was acknowledged survives the death of the process, not of the
	// machine. A machine that crashes loses at most a suffix of each partition.
	FlushOS FlushMode = iota
	// FlushBatch acknowledges, and shows to consumers, only what an fsync has
	// made durable; producers that wait share one. It survives a power cut.
	FlushBatch
	// FlushInterval acknowledges as FlushOS does and calls fsync one Interval
	// after the first batch that has had none: a crash of the machine costs at
	// most what was acknowledged in that time.
	FlushInterval
)

// MigrationPolicy says which groups may change between the classic protocol and
// the consumer protocol of KIP-848 while they have members.
type MigrationPolicy uint8

// The migration policies.
const (
	MigrateBothWays MigrationPolicy = iota // "bidirectional"
	MigrateUp                              // "upgrade": from classic to consumer only
	MigrateDown                            // "downgrade": from consumer to classic only
	MigrateNever                           // "disabled"
)

// String returns the policy as group.consumer.migration.policy spells it.
func (p MigrationPolicy) String() string {
	names := [...]string{"bidirectional", "upgrade", "downgrade", "disabled"}
	if int(p) < len(names) {
		return names[p]
	}
	return "unknown"
}

// FlushPolicy is a mode and the interval of FlushInterval.
type FlushPolicy struct {
	Mode     FlushMode
	Interval time.Duration // 1s
}

// Config is what a broker needs to know. The zero value of a field means the
// default in its comment, which is Kafka's own unless it says otherwise.
type Config struct {
	// Dir is the data directory. Empty: the broker lives in memory and forgets
	// all when it is closed.
	Dir string
	// FS is the disk: the real one, or if Dir is empty one in memory.
	FS vfs.FS

	// Listen is the TCP address to listen on, "host:port", port 0 for any.
	// Empty: no TCP; clients come through Broker.Dial.
	Listen string
	// ListenFunc makes the listener of Listen: net.Listen.
	ListenFunc func(network, address string) (net.Listener, error)
	// Advertise is the "host:port" that clients are told to connect to: the
	// address listened on, with 127.0.0.1 for an unspecified host.
	Advertise string
	NodeID    int32 // 1: node.id

	AutoCreateTopics bool  // false (Kafka: true): auto.create.topics.enable
	NumPartitions    int32 // 1: num.partitions, of topics created without a number
	MaxPartitions    int   // 20000: of all topics together; Kafka has no such limit

	Flush           FlushPolicy   // FlushOS
	SegmentBytes    int64         // 1 GiB: log.segment.bytes
	SegmentAge      time.Duration // 7 days: log.roll.ms
	MessageMaxBytes int           // 1048588: message.max.bytes, a batch
	FetchMaxBytes   int           // 55 MiB: fetch.max.bytes, an answer

	MaxOpenSegments int // 4096 (Kafka: no limit): segment files open at a time, of all topics, beside those not synced
	FetchSessions   int // 1000: max.incremental.fetch.session.cache.slots

	RequestMaxBytes   int           // 100 MiB: socket.request.max.bytes, a frame
	RequestMemory     int64         // 256 MiB: queued.max.request.bytes, of all requests being read or handled; a quarter is for the first 64 KiB of each
	RequestTimeout    time.Duration // 30s (Kafka: none): for a whole frame to arrive, and for progress in sending an answer
	IdleTimeout       time.Duration // 10min: connections.max.idle.ms
	MaxConnections    int           // 10000 (Kafka: no limit): max.connections
	OffsetsPartitions int32         // 8 (Kafka: 50): offsets.topic.num.partitions, when the data directory is made

	// GroupInitialRebalanceDelay is how long the first rebalance of an empty
	// group waits for more members: none (Kafka: 3s, group.initial.rebalance.delay.ms).
	GroupInitialRebalanceDelay time.Duration
	GroupMinSessionTimeout     time.Duration // 6s: group.min.session.timeout.ms
	GroupMaxSessionTimeout     time.Duration // 30min: group.max.session.timeout.ms
	GroupMaxSize               int           // no limit: group.max.size
	OffsetsRetention           time.Duration // 7 days: offsets.retention.minutes
	OffsetMetadataMaxBytes     int           // 4096: offset.metadata.max.bytes

	// Of consumer groups (KIP-848):
	ConsumerSessionTimeout    time.Duration // 45s: group.consumer.session.timeout.ms
	ConsumerHeartbeatInterval time.Duration // 5s: group.consumer.heartbeat.interval.ms
	ConsumerGroupMaxSize      int           // no limit: group.consumer.max.size
	// What a group's own consumer.session.timeout.ms and consumer.heartbeat.interval.ms
	// may be. The defaults give way to the two fields above.
	ConsumerMinSessionTimeout    time.Duration   // 45s: group.consumer.min.session.timeout.ms
	ConsumerMaxSessionTimeout    time.Duration   // 60s: group.consumer.max.session.timeout.ms
	ConsumerMinHeartbeatInterval time.Duration   // 5s: group.consumer.min.heartbeat.interval.ms
	ConsumerMaxHeartbeatInterval time.Duration   // 15s: group.consumer.max.heartbeat.interval.ms
	ConsumerMigration            MigrationPolicy // MigrateBothWays: group.consumer.migration.policy

	RetentionCheckInterval time.Duration // 5min: log.retention.check.interval.ms
	CleanerBackoff         time.Duration // 15s: log.cleaner.backoff.ms, between two searches for something to compact
	CleanerMapBytes        int64         // 128 MiB: log.cleaner.dedupe.buffer.size, of a compaction's table of keys
	CleanerBytesPerSecond  int64         // no limit: log.cleaner.io.max.bytes.per.second, read and written by compactions

	Logger *slog.Logger // slog.Default()

	// Metrics is where the broker registers its metrics until it is closed;
	// nil: nowhere. Two brokers need one each, or one wrapped by
	// prometheus.WrapRegistererWith.
	Metrics prometheus.Registerer

	topicDefaults map[string]string // of Set, by their names on the broker; never changed
}

// memoryDir is where the files of a broker without a directory lie on its disk
// in memory.
const memoryDir = "/millrace"

// withDefaults fills in what is not set, and checks all of it.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.NodeID, 1)
	setDefault(&c.NumPartitions, 1)
	setDefault(&c.MaxPartitions, 20_000)
	setDefault(&c.Flush.Interval, time.Second)
	setDefault(&c.SegmentBytes, 1<<30)
	setDefault(&c.SegmentAge, 7*24*time.Hour)
	setDefault(&c.MessageMaxBytes, 1048588)
	setDefault(&c.FetchMaxBytes, 55<<20)
	setDefault(&c.MaxOpenSegments, 4096)
	setDefault(&c.FetchSessions, 1000)
	setDefault(&c.RequestMaxBytes, 100<<20)
	setDefault(&c.RequestMemory, 256<<20)
	setDefault(&c.RequestTimeout, 30*time.Second)
	setDefault(&c.IdleTimeout, 10*time.Minute)
	setDefault(&c.MaxConnections, 10_000)
	setDefault(&c.OffsetsPartitions, 8)
	setDefault(&c.GroupMinSessionTimeout, 6*time.Second)
	setDefault(&c.GroupMaxSessionTimeout, 30*time.Minute)
	setDefault(&c.GroupMaxSize, math.MaxInt32)
	setDefault(&c.OffsetsRetention, 7*24*time.Hour)
	setDefault(&c.RetentionCheckInterval, 5*time.Minute)
	setDefault(&c.CleanerBackoff, 15*time.Second)
	setDefault(&c.CleanerMapBytes, 128<<20)
	setDefault(&c.OffsetMetadataMaxBytes, 4096)
	setDefault(&c.ConsumerSessionTimeout, 45*time.Second)
	setDefault(&c.ConsumerHeartbeatInterval, 5*time.Second)
	setDefault(&c.ConsumerGroupMaxSize, math.MaxInt32)
	setDefault(&c.ConsumerMinSessionTimeout, min(45*time.Second, c.ConsumerSessionTimeout))
	setDefault(&c.ConsumerMaxSessionTimeout, max(60*time.Second, c.ConsumerSessionTimeout))
	setDefault(&c.ConsumerMinHeartbeatInterval, min(5*time.Second, c.ConsumerHeartbeatInterval))
	setDefault(&c.ConsumerMaxHeartbeatInterval, max(15*time.Second, c.ConsumerHeartbeatInterval))
	if c.FS == nil {
		c.FS = vfs.OS{}
		if c.Dir == "" {
			c.FS = vfs.NewMem()
		}
	}
	if c.Dir == "" {
		c.Dir = memoryDir
	}
	if c.ListenFunc == nil {
		c.ListenFunc = net.Listen
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Logger = slog.New(newLogLimit(c.Logger.Handler()))
	return c, c.check()
}

// check reports all that makes no sense.
func (c *Config) check() error {
	var errs []error
	if c.Flush.Mode > FlushInterval {
		errs = append(errs, fmt.Errorf("flush mode %d is unknown", c.Flush.Mode))
	}
	if c.ConsumerMigration > MigrateNever {
		errs = append(errs, fmt.Errorf("migration policy %d is unknown", c.ConsumerMigration))
	}
	errs = append(errs,
		between("ConsumerSessionTimeout", c.ConsumerSessionTimeout, c.ConsumerMinSessionTimeout, c.ConsumerMaxSessionTimeout),
		between("ConsumerHeartbeatInterval", c.ConsumerHeartbeatInterval, c.ConsumerMinHeartbeatInterval, c.ConsumerMaxHeartbeatInterval))
	if c.Advertise != "" {
		if _, _, err := splitAddr(c.Advertise); err != nil {
			errs = append(errs, fmt.Errorf("advertised address: %w", err))
		}
	}
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"NodeID", int64(c.NodeID)},
		{"NumPartitions", int64(c.NumPartitions)},
		{"MaxPartitions", int64(c.MaxPartitions)},
		{"Flush.Interval", int64(c.Flush.Interval)},
		{"SegmentBytes", c.SegmentBytes},
		{"SegmentAge", int64(c.SegmentAge)},
		{"MessageMaxBytes", int64(c.MessageMaxBytes)},
		{"FetchMaxBytes", int64(c.FetchMaxBytes)},
		{"MaxOpenSegments", int64(c.MaxOpenSegments)},
		{"FetchSessions", int64(c.FetchSessions)},
		{"RequestMaxBytes", int64(c.RequestMaxBytes)},
		{"RequestMemory", c.RequestMemory},
		{"RequestTimeout", int64(c.RequestTimeout)},
		{"IdleTimeout", int64(c.IdleTimeout)},
		{"MaxConnections", int64(c.MaxConnections)},
		{"OffsetsPartitions", int64(c.OffsetsPartitions)},
		{"GroupInitialRebalanceDelay", int64(c.GroupInitialRebalanceDelay)},
		{"GroupMinSessionTimeout", int64(c.GroupMinSessionTimeout)},
		{"GroupMaxSessionTimeout", int64(c.GroupMaxSessionTimeout)},
		{"GroupMaxSize", int64(c.GroupMaxSize)},
		{"OffsetsRetention", int64(c.OffsetsRetention)},
		{"RetentionCheckInterval", int64(c.RetentionCheckInterval)},
		{"CleanerBackoff", int64(c.CleanerBackoff)},
		{"CleanerMapBytes", c.CleanerMapBytes},
		{"CleanerBytesPerSecond", c.CleanerBytesPerSecond},
		{"OffsetMetadataMaxBytes", int64(c.OffsetMetadataMaxBytes)},
		{"ConsumerSessionTimeout", int64(c.ConsumerSessionTimeout)},
		{"ConsumerHeartbeatInterval", int64(c.ConsumerHeartbeatInterval)},
		{"ConsumerGroupMaxSize", int64(c.ConsumerGroupMaxSize)},
		{"ConsumerMinSessionTimeout", int64(c.ConsumerMinSessionTimeout)},
		{"ConsumerMaxSessionTimeout", int64(c.ConsumerMaxSessionTimeout)},
		{"ConsumerMinHeartbeatInterval", int64(c.ConsumerMinHeartbeatInterval)},
		{"ConsumerMaxHeartbeatInterval", int64(c.ConsumerMaxHeartbeatInterval)},
	} {
		if n.value < 0 {
			errs = append(errs, fmt.Errorf("%s is negative: %d", n.name, n.value))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("broker config: %w", err)
	}
	return nil
}

func between(name string, d, least, most time.Duration) error {
	if d < least || d > most {
		return fmt.Errorf("%s is %v, not between %v and %v", name, d, least, most)
	}
	return nil
}

func setDefault[T ~int | ~int32 | ~int64](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// splitAddr splits "host:port" for an answer to a client.
func splitAddr(addr string) (host string, port int32, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil || n == 0 || host == "" {
		return "", 0, fmt.Errorf("%q is not host:port", addr)
	}
	return host, int32(n), nil
}

func (p FlushPolicy) seglog() seglog.FlushPolicy {
	return seglog.FlushPolicy{Mode: seglog.FlushMode(p.Mode), Interval: p.Interval}
}
