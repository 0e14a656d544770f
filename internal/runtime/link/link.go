// SPDX-License-Identifier: Apache-2.0

// Package link is the narrow seam between the engine and the broker. What
// passes it are batches of records as bytes, offsets and times; the Kafka client
// behind it (franz-go) is not seen from outside. [Open] gives the real thing;
// package linktest holds a cluster in memory for tests.
package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/assign"
)

// AnyPartition asks for the partition to be chosen from the key.
const AnyPartition int32 = -1

var (
	// ErrFenced says that another process has joined the group under the same
	// instance id: this one must stop.
	ErrFenced = errors.New("another process runs under the same instance id")
	// ErrConfig says that a broker refuses a topic's config, or does not know it.
	ErrConfig = errors.New("the broker refuses a config")
	// ErrClosed says that the link has been closed.
	ErrClosed = errors.New("link: closed")
)

// A Cluster is one application's tie to a Kafka cluster. Its methods may be
// called concurrently. Those with a context wait for a broker that is away until
// the context ends; how it goes is told through Config.OnAway.
type Cluster interface {
	// ID is the cluster's id, "" if the brokers have none.
	ID(ctx context.Context) (string, error)
	// Topics describes topics; those that do not exist are left out.
	Topics(ctx context.Context, names ...string) (map[string]Topic, error)
	// AllTopics describes all topics of the cluster that may be seen.
	AllTopics(ctx context.Context) (map[string]Topic, error)
	// CreateTopics makes topics; one that exists already is no error.
	CreateTopics(ctx context.Context, topics []NewTopic) error
	// TopicConfig gives the value of one of a topic's configs, "" if it has none.
	TopicConfig(ctx context.Context, topic, key string) (string, error)
	// Committed gives the group's committed offsets; those without are left out.
	Committed(ctx context.Context, parts []Partition) (map[Partition]Position, error)
	// Ranges gives where each partition's log starts and where what may be read
	// ends: the last stable offset.
	Ranges(ctx context.Context, parts []Partition) (map[Partition]Range, error)
	// Ends gives the end of what may be read of each partition, with the leader
	// epoch that the leader is in, -1 if it does not say.
	Ends(ctx context.Context, parts []Partition) (map[Partition]Position, error)
	// EpochEnd is the end of a leader epoch in a partition's log, or of the
	// greatest smaller one, with that epoch: OffsetForLeaderEpoch. -1 if unknown.
	EpochEnd(ctx context.Context, p Partition, epoch int32) (Position, error)
	// DeleteRecords drops what lies before the given offsets.
	DeleteRecords(ctx context.Context, before map[Partition]int64) error
	// Limit says how large the batches of a topic may be, in bytes, before the first
	// is sent there.
	Limit(topic string, bytes int32)
	// Lane opens a way to append records. It belongs to one goroutine.
	Lane() Lane
	// Join joins the group. Handlers are called until Leave has returned.
	Join(cfg MemberConfig) (Member, error)
	// Read opens a reader of one partition from an offset up to an end.
	Read(p Partition, id [16]byte, from, end int64) Reader
	// Close drops what is not yet sent and all connections, and waits for the
	// client's goroutines. A second call does nothing.
	Close()
}

// A Partition is one partition of a topic.
type Partition struct {
	Topic string
	Num   int32
}

// String gives the partition as Kafka's logs write it: topic-3.
func (p Partition) String() string { return fmt.Sprintf("%s-%d", p.Topic, p.Num) }

// A Position is a place in a partition's log.
type Position struct {
	Offset int64
	Epoch  int32 // leader epoch of the record before it, -1 if unknown
	// Metadata goes with a committed offset: at most 4096 bytes, the broker's default.
	Metadata string
}

// A Range is the part of a log that can be read: Start is in it, End is not.
type Range struct {
	Start, End int64
}

// A Topic is what the cluster says about a topic.
type Topic struct {
	ID         [16]byte // zero if the brokers have no topic ids
	Partitions int32
	Private    bool // of the brokers' own
}

// A NewTopic is a topic to be made.
type NewTopic struct {
	Name        string
	Partitions  int32
	Replication int16 // -1: the broker's default
	Configs     map[string]string
}

// A Batch is what one fetch brought of one partition. It belongs to its
// receiver, and its memory is never used again by the link.
type Batch struct {
	Partition Partition
	Records   []plan.Raw // in the order of offsets, not empty
	End       int64      // of what could be read of the partition at the time of the fetch
	Bytes     int64      // about the memory of Records
}

// MemberConfig is how a process takes part in its group.
type MemberConfig struct {
	Topics []string
	// Instance makes the member a static one (KIP-345): restarted under the same
	// id within the session it takes up its partitions without a rebalance. "" for
	// a member that is new each time.
	Instance         string
	SessionTimeout   time.Duration // 45s
	RebalanceTimeout time.Duration // 60s: also the time that Revoked may take
	// Resets says where topics begin where nothing is committed, other than at the start.
	Resets    map[string]plan.Reset
	Balancing Balancing
	// FetchMemory is what one answer of a broker may take in memory, in bytes, and
	// PartitionMemory what is in it of one partition: less is asked for where batches grow
	// when they are decoded. At least a batch comes, whatever it takes. 0: no bound.
	FetchMemory, PartitionMemory int64

	// Assigned is called after each rebalance with the partitions that are new,
	// which may be none. They are paused: Member.Resume lets them flow.
	Assigned func(parts []Partition)
	// Revoked is called with partitions that go to another member, which gets
	// them when it returns: until then their offsets can be committed.
	Revoked func(parts []Partition)
	// Lost is called with partitions that are gone already.
	Lost func(parts []Partition)
}

// A Subscription is what a member reads.
type Subscription struct {
	Topics []string
	Resets map[string]plan.Reset // as in MemberConfig
	Subs   []assign.Sub          // as in Balancing
}

// A Member is this process in its group. Its methods may be called concurrently,
// Poll by one goroutine at a time.
type Member interface {
	// Poll waits for records and hands over what has come. Until Delivered, none of
	// the handlers of MemberConfig runs. The error is that of the context, ErrClosed,
	// or one after which the partitions it names bring nothing more.
	Poll(ctx context.Context) ([]Batch, error)
	// Delivered says that what Poll gave is where it belongs.
	Delivered()
	// Pause stops fetching partitions: nothing comes of them from the next Poll on. What was
	// fetched but not polled comes after Resume; it is kept as far as FetchMemory allows.
	Pause(parts ...Partition)
	// Resume ends Pause.
	Resume(parts ...Partition)
	// Seek has partitions fetched from other offsets on, those that were fetched at all.
	// It is called between Poll and Delivered, by the goroutine that polls.
	Seek(to map[Partition]int64)
	// Commit commits offsets. It waits for a rebalance in progress and tries again
	// as long as partitions are owned; those that are not any more are left out.
	Commit(ctx context.Context, offsets map[Partition]Position) error
	// Subscribe has the member join the group again for other topics. What it still owns
	// of topics that it leaves is taken away in that round, and not committed any more. The
	// context bounds the wait for a client that is busy.
	Subscribe(ctx context.Context, s Subscription)
	// Rebalance has the member join the group again with what it says of itself now:
	// when a copy of state has come far enough for its task to move.
	Rebalance()
	// Leave gives all partitions back and, unless stay is set, leaves the group,
	// so that others need not wait for the session to end. Revoked is called for
	// what is still owned. The context bounds the wait.
	Leave(ctx context.Context, stay bool) error
}

// A Lane appends records to topics, in order for each partition. It belongs to
// one goroutine. Its first failure stays: it fails all that follows.
type Lane interface {
	// Append takes a record on its way to a destination. Key and value are copied;
	// nil is a null. Headers must not change afterwards. It waits while too many
	// bytes are on their way, and fails once the lane has failed or is closed.
	Append(d *Dest, key, value []byte, timestamp int64, headers []plan.Header) error
	// Barrier has done called, once, when all that was appended before is
	// acknowledged, or with the lane's failure. It is called on a goroutine of the
	// client's and must not block.
	Barrier(done func(error))
	// Close makes a waiting Append fail. What was appended may still be sent. It
	// may be called from any goroutine.
	Close()
}

// A Reader reads one partition to an end. It belongs to one goroutine.
type Reader interface {
	// Next gives the next records and the position after them. Markers and
	// compaction leave gaps, so records may be none while the position moves. At
	// the end it answers io.EOF.
	Next(ctx context.Context) (recs []plan.Raw, next Position, err error)
}

// An OutOfRangeError says that an offset is not in the log (any more).
type OutOfRangeError struct {
	Partition Partition
	Offset    int64
}

func (e *OutOfRangeError) Error() string {
	return fmt.Sprintf("%s: offset %d is out of the log's range", e.Partition, e.Offset)
}
