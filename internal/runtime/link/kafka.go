// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/plan"
)

// Kafka is a [Cluster] over the Kafka protocol.
type Kafka struct {
	cfg    Config
	main   *kgo.Client // produces and administers
	reads  *kgo.Client // restores: its fetches must not queue behind the member's
	budget *budget
	reach  *reach
	lead   *leaders
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	limits sync.Map // of batches in bytes, int32 by topic

	batches bool // else by the client's own records
	wire    wire
	lanes   sync.WaitGroup // of batches

	mu      sync.Mutex
	closed  bool
	members []*member
}

// Limit implements [Cluster].
func (k *Kafka) Limit(topic string, bytes int32) {
	k.limits.Store(topic, min(max(bytes, minBatchBytes), maxBatchBytes))
}

// DefaultMaxRecordBytes is the default of max.message.bytes in Kafka.
const DefaultMaxRecordBytes = 1_000_012

// The client takes batch sizes in these bounds; a request has room for the larger.
const (
	minBatchBytes = 512
	maxBatchBytes = 64 << 20
)

func (k *Kafka) limit(topic string) int32 {
	if v, ok := k.limits.Load(topic); ok {
		return v.(int32)
	}
	return k.cfg.MaxRecordBytes
}

// RecordBytes is at most what a record takes as a batch of its own, not compressed.
func RecordBytes(key, value []byte, headers []plan.Header) int {
	n := 61 + 1 + 6*5 + 10 + len(key) + len(value) // head of a batch, lengths and deltas as varints
	for _, h := range headers {
		n += 2*5 + len(h.Key) + len(h.Value)
	}
	return n
}

var _ Cluster = (*Kafka)(nil)

// Open makes a link. It checks the configuration and reaches for no broker yet.
func Open(cfg Config) (*Kafka, error) {
	if err := cfg.Check(); err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.ByRecord = cfg.ByRecord || os.Getenv(Env) == Records
	if cfg.MaxRecordBytes == 0 {
		cfg.MaxRecordBytes = DefaultMaxRecordBytes
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 32 << 20
	}
	if cfg.ReadMemory == 0 {
		cfg.ReadMemory = 64 << 20
	}
	switch cfg.Linger {
	case 0:
		cfg.Linger = 5 * time.Millisecond
	case NoLinger:
		cfg.Linger = 0
	}
	ctx, cancel := context.WithCancel(context.Background())
	k := &Kafka{
		cfg: cfg, ctx: ctx, cancel: cancel,
		budget: newBudget(cfg.MaxInFlight),
		reach:  &reach{changed: cfg.OnAway},
	}
	var err error
	if k.main, err = k.client(ctx, k.produceOptions()...); err != nil {
		cancel()
		return nil, fmt.Errorf("link: %w", err)
	}
	if k.reads, err = k.client(ctx); err != nil {
		cancel()
		k.main.Close()
		return nil, fmt.Errorf("link: %w", err)
	}
	k.lead = newLeaders(k.main)
	if k.wire, k.batches, err = newWire(k.main); err != nil {
		k.Close()
		return nil, fmt.Errorf("link: %w", err)
	}
	k.batches = k.batches && !cfg.ByRecord
	return k, nil
}

func (k *Kafka) client(ctx context.Context, more ...kgo.Opt) (*kgo.Client, error) {
	opts := append(k.cfg.options(), kgo.WithContext(ctx), kgo.WithHooks(k.reach))
	opts = append(opts, more...)
	return kgo.NewClient(append(opts, k.cfg.Extra...)...)
}

// produceOptions: the bound on what is in flight is the link's own (see budget),
// because the client's costs a goroutine for each record that waits.
func (k *Kafka) produceOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(partitioner{}),
		kgo.MaxBufferedRecords(math.MaxInt32),
		kgo.ProducerLinger(k.cfg.Linger),
		kgo.ProducerBatchMaxBytesFn(k.limit),
		kgo.AllowAutoTopicCreation(), // of sinks, where the broker does that
		kgo.UnknownTopicRetries(10),
	}
}

// Close implements [Cluster].
func (k *Kafka) Close() {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return
	}
	k.closed = true
	members := k.members
	k.mu.Unlock()
	k.cancel() // before the clients' own close, which would wait for a broker
	k.lanes.Wait()
	for _, m := range members {
		m.close()
	}
	k.budget.close()
	k.main.Close()
	k.reads.Close()
}

// awayAfter is how long nothing may have come from any broker for a failed attempt
// to connect to mean that all are away.
const awayAfter = 2 * time.Second

// reach follows what all clients of a link hear of the brokers. Connections do not
// tell that they are dead before they are used, so it is not these that count: the
// brokers are away if an attempt to connect has failed and nothing was heard for a
// while, and back with the next answer.
type reach struct {
	changed func(cause error)
	heard   atomic.Int64 // when, ns since the Unix epoch

	mu   sync.Mutex
	away atomic.Bool // changes under mu
}

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (r *reach) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	switch {
	case err == nil:
		r.ok()
	case time.Now().UnixNano()-r.heard.Load() >= int64(awayAfter) && !errors.Is(err, context.Canceled):
		r.set(err)
	}
}

// OnBrokerRead implements kgo.HookBrokerRead.
func (r *reach) OnBrokerRead(_ kgo.BrokerMetadata, _ int16, _ int, _, _ time.Duration, err error) {
	if err == nil {
		r.ok()
	}
}

func (r *reach) ok() {
	r.heard.Store(time.Now().UnixNano())
	if r.away.Load() {
		r.set(nil)
	}
}

// set tells of a change, under the lock: in order.
func (r *reach) set(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away.Load() == (cause != nil) {
		return
	}
	r.away.Store(cause != nil)
	if r.changed != nil {
		r.changed(cause)
	}
}

// asker sends requests, and waits for a broker that is away. The client does that
// too, but for the requests that it splits by leader or coordinator it looks for
// those only a few times. When the context ends meanwhile, the error is the
// context's, with what kept it waiting.
type asker struct{ client *kgo.Client }

// Request implements kmsg.Requestor.
func (a asker) Request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	for try := 1; ; try++ {
		resp, err := a.client.Request(ctx, req)
		if kgo.IsRetryableBrokerErr(err) && wait(ctx, try) == nil {
			continue
		}
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		return resp, err
	}
}
