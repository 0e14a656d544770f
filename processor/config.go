// SPDX-License-Identifier: Apache-2.0

package processor

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/state"
)

// Config is what a run of a topology needs to know. The zero value of a field
// means the default in its comment.
type Config struct {
	// Brokers are the addresses, host:port, of some brokers of the cluster. Required.
	Brokers []string
	// Stores is where state lies: rocksdb.At(dir), pebble.At(dir), or
	// state.Memory(), the default, which is restored from the changelogs at every
	// start. A folder belongs to one process at a time.
	Stores state.Backend
	// CommitInterval is the time between commits: how much is processed again after
	// a crash, and how long folded results wait. 30 s, as in Kafka Streams.
	CommitInterval time.Duration
	// Workers is the number of goroutines that run tasks, a task at a time each.
	// GOMAXPROCS.
	Workers int
	// OpenBytes is how much changed state, in bytes over all stores, brings a commit
	// on early. 64 MiB.
	OpenBytes int64
	// MemoryLimit is the memory, in bytes, that the application's state and the records
	// in its hands may take: what is not committed, what stores keep to answer reads,
	// the caches and write buffers of Stores (unless its own options say otherwise), what
	// was fetched and is not processed, as it is when decoded, and what is on its way to
	// the brokers. Commits come early when it is used much, and records wait when it is
	// used up, while brokers are away for instance. Not in it are what functions of the
	// program keep, and state.Memory(), which holds all in memory; one batch of each
	// partition, however large it is; and what an idle program takes. Garbage is not in it
	// either: GOMEMLIMIT bounds that, see [HeapLimit]. With it the resident memory stays
	// within five quarters of the limit above the idle size; docs/guide/streams.md has the parts.
	// Several applications of a process have a limit each. 512 MiB.
	MemoryLimit int64
	// ReplicationFactor of the internal topics. The broker's default.
	ReplicationFactor int16
	// TLS, if not nil, encrypts all connections. Plain text.
	TLS *tls.Config
	// SASL is how the client authenticates. Not at all.
	SASL SASL
	// Dial replaces the way to a broker's address: for a broker in this process.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// ClientID names the client to the brokers. The application id.
	ClientID string
	// SessionTimeout is how long the group waits for an instance that has gone
	// silent before its tasks move. 45 s, as in Kafka.
	SessionTimeout time.Duration
	// InstanceID names this instance to its group (group.instance.id, KIP-345): one that
	// comes back under its name within the session time-out, after whatever end, finds its
	// tasks, and no other instance notices. Letters, digits, ".", "_" and "-", at most 249.
	// Of two that run under one name the older one fails with [ErrFenced]. An id that is
	// made once and kept in the folder of Stores; none where there is no folder.
	InstanceID string
	// StayOnClose leaves the instance a member of its group when it is closed, so
	// that one that comes back within the session time-out finds its tasks. It
	// needs InstanceID, or Stores with a folder, where such an id is kept.
	StayOnClose bool
	// Address is the host:port at which the program answers questions about this
	// instance's stores. Nothing listens there for that: the address is told to all
	// instances, see [App.Hosts]. None.
	Address string
	// MaxTaskIdle is how long a task with several inputs waits for one that has no
	// records, so that records are processed in the order of their times: 0 waits only
	// for what the broker is known to have, [NoTaskIdle] for nothing. 0, as in Kafka
	// Streams (max.task.idle.ms).
	MaxTaskIdle time.Duration
	// SourceIdleness lets time go on without records: when a task's inputs have had
	// nothing new for so long, as the brokers have confirmed all the while, stream time
	// goes on by the time that passes. A broker that is away is not an idle source. 0:
	// stream time comes from records alone.
	SourceIdleness time.Duration
	// EmitInterval is the shortest time, by the time of day, between two looks of a step
	// for results that are due by stream time: of windows that are emitted on close, of
	// records that left and outer joins wait with. 0: it looks at each record, so that
	// what comes out, and in which order, follows from the records alone. Kafka Streams
	// has a second.
	EmitInterval time.Duration
	// TopicsInterval is the time between two looks for topics that match a pattern and are
	// new, for source topics that have got more partitions, and for those that are gone.
	// 10 s.
	TopicsInterval time.Duration
	// OnDecodeError is the policy for records of source topics that cannot be decoded,
	// or have a negative timestamp. [Fail].
	OnDecodeError Policy
	// OnProcessError is the policy for records at which a function of the program
	// returns an error or panics. [Fail].
	OnProcessError Policy
	// OnProduceError is the policy for records that cannot be written: no encoding,
	// larger than the topic takes. [Fail].
	OnProduceError Policy
	// OnFailure says what a failure ends that no policy gets over: the application
	// ([StopApp], the default), or the tasks of the worker that has failed, which are
	// started again from the last commit ([RestartTasks]).
	OnFailure OnFailure
	// OnStoreChange says what happens at a store whose kind or encodings are others than
	// it was written with: the application ends with a [*StoreChangedError]
	// ([RefuseStore], the default), or the changelog is read as if it had been written so
	// ([RebuildStore]), for encodings that have changed in name only.
	OnStoreChange OnStoreChange
	// MaxRecordBytes is the largest record that is written to a topic that does not
	// say how much it takes (max.message.bytes). 1,000,012, Kafka's default.
	MaxRecordBytes int32
	// Listener is called with every change of state, in order, on a goroutine of its
	// own. None.
	Listener func(State)
	// Client are further options of the franz-go client, which win over those that
	// follow from this Config. Hooks for records or batches, a rack, and options that only the
	// client's own producer knows make the engine fetch or send through the client's
	// records, which costs more.
	Client []kgo.Opt
	// Logger gets what an operator of the application should know. slog.Default().
	Logger *slog.Logger
}

// OnFailure is what a failure ends that no policy gets over.
type OnFailure = runtime.OnFailure

// What a failure ends. Tasks that fail again and again are started after waits that
// double from 1 s up to 30 s.
const (
	StopApp      = runtime.StopApp
	RestartTasks = runtime.RestartTasks
)

// OnStoreChange is what happens at a store that has changed.
type OnStoreChange = runtime.OnStoreChange

// What happens at a store that has changed.
const (
	RefuseStore  = runtime.RefuseStore
	RebuildStore = runtime.RebuildStore
)

// HeapLimit is the limit of Go's heap, for debug.SetMemoryLimit, that fits to a
// MemoryLimit: with it the garbage collector works as hard as the limit needs. It is
// eleven sixteenths, of which ten may be in use, and a base. What the backend of the
// stores takes outside of the heap is beside it.
func HeapLimit(memoryLimit int64) int64 {
	if memoryLimit == 0 {
		memoryLimit = runtime.DefaultMemoryLimit
	}
	return memoryLimit/16*11 + heapBase
}

// heapBase is what a program takes that does nothing, in bytes.
const heapBase = 32 << 20

// NoTaskIdle is the MaxTaskIdle of tasks that wait for no input.
const NoTaskIdle = runtime.NoTaskIdle

// SASL is how a client authenticates. The zero value is not at all.
type SASL struct {
	Mechanism string // "", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512" or "OAUTHBEARER"
	User      string
	Password  string
	// Token gives the token for OAUTHBEARER, each time a connection needs one.
	Token func(ctx context.Context) (string, error)
}
