// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Kafka is a [Cluster] over the Kafka protocol.
type Kafka struct {
	cfg    Config
	main   *kgo.Client // produces and administers
	reads  *kgo.Client // restores: its fetches must not queue behind the member's
	budget *budget
	conns  *connections
	cancel context.CancelFunc

	mu      sync.Mutex
	closed  bool
	members []*member
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
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = 32 << 20
	}
	switch cfg.Linger {
	case 0:
		cfg.Linger = 5 * time.Millisecond
	case NoLinger:
		cfg.Linger = 0
	}
	ctx, cancel := context.WithCancel(context.Background())
	k := &Kafka{
		cfg: cfg, cancel: cancel,
		budget: newBudget(cfg.MaxInFlight),
		conns:  &connections{changed: cfg.OnAway},
	}
	var err error
	if k.main, err = k.client(ctx, produceOptions(&cfg)...); err != nil {
		cancel()
		return nil, fmt.Errorf("link: %w", err)
	}
	if k.reads, err = k.client(ctx); err != nil {
		cancel()
		k.main.Close()
		return nil, fmt.Errorf("link: %w", err)
	}
	return k, nil
}

func (k *Kafka) client(ctx context.Context, more ...kgo.Opt) (*kgo.Client, error) {
	opts := append(k.cfg.options(), kgo.WithContext(ctx), kgo.WithHooks(k.conns))
	opts = append(opts, more...)
	return kgo.NewClient(append(opts, k.cfg.Extra...)...)
}

// produceOptions: the bound on what is in flight is the link's own (see budget),
// because the client's costs a goroutine for each record that waits.
func produceOptions(cfg *Config) []kgo.Opt {
	return []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(partitioner{}),
		kgo.MaxBufferedRecords(math.MaxInt32),
		kgo.ProducerLinger(cfg.Linger),
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
	for _, m := range members {
		m.close()
	}
	k.budget.close()
	k.main.Close()
	k.reads.Close()
}

// connections follows the connections of all clients of a link, to tell a broker
// that is away: none is open, and the last attempt to open one failed.
type connections struct {
	changed func(cause error)

	mu   sync.Mutex
	open int
	away bool
}

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (c *connections) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	c.mu.Lock()
	if err == nil {
		c.open++
	}
	away := c.open == 0
	if away != c.away && c.changed != nil {
		c.changed(err) // under the lock: in order
	}
	c.away = away
	c.mu.Unlock()
}

// OnBrokerDisconnect implements kgo.HookBrokerDisconnect. A connection that ends
// is no sign yet: idle ones do.
func (c *connections) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) {
	c.mu.Lock()
	c.open--
	c.mu.Unlock()
}
