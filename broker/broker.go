// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/broker/internal/group"
	"github.com/millrace/millrace/broker/internal/metrics"
	"github.com/millrace/millrace/internal/vfs"
	"github.com/millrace/millrace/internal/vnet"
)

// ErrLocked says that another broker, in this process or in another, has the
// data directory open.
var ErrLocked = errors.New("data directory is in use by another broker")

// A Broker is one node, open on its data directory and serving. Its methods may
// be called from many goroutines.
type Broker struct {
	cfg        Config
	log        *slog.Logger
	lock       io.Closer // of the data directory
	topics     *registry
	groups     *group.Coordinator
	ids        *producerIDs
	mem        *requestBudget
	frames     *frameBuffers
	answers    *requestMemory // of long answers, until they are sent
	sessions   *fetchSessions
	apis       map[int16]*api
	counts     *brokerMetrics
	registered prometheus.Collector // nil: none

	local     *vnet.Listener
	listeners []net.Listener
	tcp       net.Addr // nil without TCP
	advertise string   // host:port
	host      string
	port      int32
	slots     chan struct{} // one for each connection, of MaxConnections

	cancel  context.CancelFunc // ends what runs behind Open
	closing atomic.Bool
	wg      sync.WaitGroup
	once    sync.Once
	err     error // of Close
}

// Open opens the data directory, recovers its logs and begins to serve: when it
// returns, clients can connect. ctx bounds opening only. The caller owns the
// broker and closes it. It fails with ErrLocked if the directory is in use.
func Open(ctx context.Context, cfg Config) (*Broker, error) {
	start := time.Now()
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &Broker{
		cfg: cfg,
		log: cfg.Logger,
		mem: newRequestBudget(cfg.RequestMemory), answers: newRequestMemory(cfg.RequestMemory),
		frames: &frameBuffers{limit: int(cfg.RequestMemory / framesKept)},

		sessions: newFetchSessions(cfg.FetchSessions),
		slots:    make(chan struct{}, cfg.MaxConnections),
		apis:     make(map[int16]*api),

		counts: newBrokerMetrics(),
	}
	for _, a := range apis() {
		a.metrics, a.longest = new(metrics.Request), new(atomic.Int64)
		b.apis[a.key.Int16()] = &a
	}
	serving, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	if err := b.open(ctx, serving); err != nil {
		return nil, errors.Join(fmt.Errorf("open broker: %w", err), b.Close())
	}
	b.log.Info("broker is ready", "addr", b.advertise, "dir", cfg.Dir, "topics", len(b.topics.all()), "took", time.Since(start))
	return b, nil
}

// open does the I/O of Open. What it starts ends with serving.
func (b *Broker) open(ctx, serving context.Context) (err error) {
	if err := makeDurable(b.cfg.FS, b.cfg.Dir); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	b.lock, err = b.cfg.FS.Lock(filepath.Join(b.cfg.Dir, "lock"))
	if errors.Is(err, vfs.ErrLocked) {
		return fmt.Errorf("%s: %w", b.cfg.Dir, ErrLocked)
	}
	if err != nil {
		return fmt.Errorf("lock data directory: %w", err)
	}
	if b.topics, err = openRegistry(ctx, &b.cfg, b.counts); err != nil {
		return err
	}
	b.ids = &producerIDs{reserve: b.topics.reserveProducerIDs}
	if err := b.startGroups(ctx, serving); err != nil {
		return err
	}
	if err := b.listen(); err != nil {
		return err
	}
	c := newCleaner(b.topics, &b.cfg)
	b.counts.more = append(b.counts.more, c.collectors()...)
	if err := b.registerMetrics(); err != nil {
		return err
	}
	b.wg.Go(func() { c.runRetention(serving) })
	b.wg.Go(func() { c.run(serving) })
	for _, l := range b.listeners {
		b.wg.Go(func() { b.accept(serving, l) })
	}
	return nil
}

// maxGroupAppend leaves room in a batch of Kafka's largest size, of which the
// overhead of its records is a part.
const maxGroupAppend = 1_000_000

// offsetsSegmentBytes is segment.bytes of the offsets topic, less than Kafka's 100
// MiB: what is in the active segment can't be compacted, and is read when groups are loaded.
const offsetsSegmentBytes = "16777216"

// startGroups makes the offsets topic if it is missing, and begins to load the
// groups.
func (b *Broker) startGroups(ctx, serving context.Context) error {
	t := b.topics.named(offsetsTopic)
	if t == nil {
		var err error
		t, err = b.topics.create(ctx, newTopic{
			name: offsetsTopic, partitions: b.cfg.OffsetsPartitions, internal: true,
			configs: map[string]string{"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": offsetsSegmentBytes},
		})
		if err != nil {
			return err
		}
	}
	b.groups = group.New(group.Config{
		Log:                   &offsetsLog{topic: t},
		Partitions:            int32(len(t.partitions())),
		InitialRebalanceDelay: b.cfg.GroupInitialRebalanceDelay,
		MinSessionTimeout:     b.cfg.GroupMinSessionTimeout,
		MaxSessionTimeout:     b.cfg.GroupMaxSessionTimeout,
		GroupMaxSize:          b.cfg.GroupMaxSize,
		OffsetRetention:       b.cfg.OffsetsRetention,
		MaxMetadataBytes:      b.cfg.OffsetMetadataMaxBytes,
		MaxRecordBytes:        min(maxGroupAppend, t.config().maxMessageBytes),

		ConsumerSessionTimeout:    b.cfg.ConsumerSessionTimeout,
		ConsumerHeartbeatInterval: b.cfg.ConsumerHeartbeatInterval,
		ConsumerMaxSize:           b.cfg.ConsumerGroupMaxSize,
		Migration:                 group.MigrationPolicy(b.cfg.ConsumerMigration),
		ConsumerTimes:             b.topics.groupTimes,

		TopicName:       b.topicName,
		TopicID:         b.topicID,
		PartitionExists: b.partitionExists,
		Topics:          b.topics.groupTopics,
		Logger:          b.log,
	})
	b.groups.Start(serving)
	return nil
}

func (b *Broker) topicName(id [16]byte) (string, bool) {
	if t := b.topics.withID(id); t != nil {
		return t.name, true
	}
	return "", false
}

func (b *Broker) topicID(name string) (id [16]byte, ok bool) {
	if t := b.topics.named(name); t != nil {
		return t.id, true
	}
	return id, false
}

// Close stops serving, waits for the requests under way, flushes and closes the
// logs, and gives up the data directory. Calling it again returns the same
// error.
func (b *Broker) Close() error {
	b.once.Do(func() {
		b.closing.Store(true)
		b.unregisterMetrics()
		b.cancel()
		for _, l := range b.listeners {
			_ = l.Close()
		}
		b.wg.Wait()
		if b.groups != nil {
			b.groups.Close()
		}
		var errs []error
		if b.topics != nil {
			errs = append(errs, b.topics.close())
		}
		if b.lock != nil {
			errs = append(errs, b.lock.Close())
		}
		b.err = errors.Join(errs...)
		b.log.Info("broker is closed", "dir", b.cfg.Dir, "err", b.err)
	})
	return b.err
}
