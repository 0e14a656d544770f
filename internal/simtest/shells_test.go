// SPDX-License-Identifier: Apache-2.0

package simtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/serde"
)

// shells are real instances on a real broker in memory, in real time: franz-go holds a
// commit back with a mutex while the group joins, which no bubble's time gets over.
type shells struct {
	t      *testing.T
	rng    *rand.Rand
	b      *broker.Broker
	probe  *link.Kafka
	client *kgo.Client
	apps   []*cabled
	truth  tally
	sent   int64
	most   int64 // records that may be read again, as kills went
}

// cabled is an instance with the cable that ties it to the broker.
type cabled struct {
	*runtime.App
	mu    sync.Mutex
	pulls []net.Conn
	cut   bool
}

var errCut = errors.New("the cable is cut")

func (c *cabled) dial(b *broker.Broker) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := b.Dial(ctx, network, address)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.cut && err == nil {
			return nil, errors.Join(errCut, conn.Close())
		}
		c.pulls = append(c.pulls, conn)
		return conn, err
	}
}

// kill ends an instance as the end of its process does: its connections are gone, and
// the group waits for its session to end.
func (c *cabled) kill(t *testing.T) {
	c.mu.Lock()
	c.cut = true
	for _, conn := range c.pulls {
		_ = conn.Close() // some are closed
	}
	c.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = c.Close(ctx) // it tells that it could not commit
	<-c.Done()
}

const (
	shellParts   = 4
	shellSession = 2 * time.Second
)

var shellTopics = []string{"left", "right", "solo", "pass", "out"}

func newShells(t *testing.T, seed uint64) *shells {
	t.Helper()
	b, err := broker.Open(t.Context(), broker.Config{
		Logger: slog.New(slog.DiscardHandler), GroupMinSessionTimeout: shellSession,
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &shells{t: t, rng: rand.New(rand.NewPCG(seed, 9)), b: b, truth: tally{}}
	cfg := link.Config{Brokers: b.Bootstrap(), Group: "app", Dialer: b.Dial}
	if w.probe, err = link.Open(cfg); err != nil {
		t.Fatal(err)
	}
	var topics []link.NewTopic
	for _, name := range shellTopics {
		topics = append(topics, link.NewTopic{Name: name, Partitions: shellParts, Replication: -1})
	}
	if err := w.probe.CreateTopics(t.Context(), topics); err != nil {
		t.Fatal(err)
	}
	if w.client, err = kgo.NewClient(cfg.ClientOptions()...); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *shells) start() {
	c := &cabled{}
	app, err := runtime.Start(w.t.Context(), newProgram(true).plan, runtime.Config{
		Link:    link.Config{Brokers: w.b.Bootstrap(), Dialer: c.dial(w.b)},
		Workers: 2, CommitInterval: 100 * time.Millisecond, SessionTimeout: shellSession,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	c.App = app
	w.apps = append(w.apps, c)
}

// feed produces some records.
func (w *shells) feed(n int) {
	var recs []*kgo.Record
	for range n {
		topic := shellTopics[w.rng.IntN(4)]
		key := fmt.Sprintf("k%d", w.rng.IntN(20))
		recs = append(recs, &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte("v")})
		w.truth.add(subOf(topic), key, 1)
		w.sent++
	}
	if err := w.client.ProduceSync(w.t.Context(), recs...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// mishap has an instance come, go or die.
func (w *shells) mishap() {
	i := w.rng.IntN(len(w.apps))
	c := w.apps[i]
	switch k := w.rng.IntN(4); {
	case k < 2 && len(w.apps) < 3 || len(w.apps) == 1:
		w.start()
		return
	case k == 2:
		c.kill(w.t)
		committed := w.committed()
		for _, task := range c.Progress().Tasks {
			for _, in := range task.Inputs {
				w.most += max(in.Position-max(committed[link.Partition{Topic: in.Topic, Num: in.Partition}].Offset, 0), 0)
			}
		}
	default:
		if err := c.Close(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
	w.apps = append(w.apps[:i], w.apps[i+1:]...)
}

func (w *shells) inputs() []link.Partition {
	var parts []link.Partition
	for _, topic := range shellTopics[:4] {
		for n := range int32(shellParts) {
			parts = append(parts, link.Partition{Topic: topic, Num: n})
		}
	}
	return parts
}

func (w *shells) committed() map[link.Partition]link.Position {
	w.t.Helper()
	committed, err := w.probe.Committed(w.t.Context(), w.inputs())
	if err != nil {
		w.t.Fatal(err)
	}
	return committed
}

// drained waits until all input is committed.
func (w *shells) drained() {
	w.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); <-tick.C {
		sum := int64(0)
		for _, pos := range w.committed() {
			sum += pos.Offset
		}
		if sum == w.sent {
			return
		}
		for _, c := range w.apps {
			if err := c.Err(); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	w.t.Fatal("not all input is committed a minute later")
}

// counts folds the changelog of a store.
func (w *shells) counts(store string) map[string]int64 {
	w.t.Helper()
	topic := changelogOf(store)
	got := map[string]int64{}
	for n := range int32(shellParts) {
		p := link.Partition{Topic: topic, Num: n}
		ends, err := w.probe.Ends(w.t.Context(), []link.Partition{p})
		if err != nil {
			w.t.Fatal(err)
		}
		topics, err := w.probe.Topics(w.t.Context(), topic)
		if err != nil {
			w.t.Fatal(err)
		}
		r := w.probe.Read(p, topics[topic].ID, 0, ends[p].Offset)
		for {
			recs, _, err := r.Next(w.t.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				w.t.Fatal(err)
			}
			for _, rec := range recs {
				v, err := serde.Int64.Decode(rec.Value)
				if err != nil {
					w.t.Fatal(err)
				}
				got[string(rec.Key)] = v
			}
		}
	}
	return got
}

// check holds the counts to be the truth, or more by what was read again.
func (w *shells) check() {
	w.t.Helper()
	over := int64(0)
	for _, store := range []string{"left", "solo"} {
		got := w.counts(store)
		for key, want := range w.truth[store] {
			if got[key] < want {
				w.t.Errorf("%s of %s is %d, and must be at least %d", store, key, got[key], want)
			}
			over += got[key] - want
		}
	}
	if over > w.most {
		w.t.Errorf("%d records too many are counted, and at most %d were read again", over, w.most)
	}
}

func (w *shells) close() {
	w.t.Helper()
	for _, c := range w.apps {
		if err := c.Close(w.t.Context()); err != nil {
			w.t.Error(err)
		}
	}
	w.client.Close()
	w.probe.Close()
	if err := w.b.Close(); err != nil {
		w.t.Error(err)
	}
}

// pause lets things go on for a while, so that faults meet different moments.
func (w *shells) pause() {
	timer := time.NewTimer(time.Duration(w.rng.IntN(400)) * time.Millisecond)
	<-timer.C
}

// TestInstancesComeAndGo runs the engine and the client as they are, against the
// broker's own coordinator: joins, leaves and kills in the middle of rebalances. A seed
// fixes what happens, not the interleaving.
func TestInstancesComeAndGo(t *testing.T) {
	for _, seed := range seeds(t, 5, 200) {
		t.Run(fmt.Sprintf("SEED=%d", seed), func(t *testing.T) {
			w := newShells(t, seed)
			defer w.close()
			w.start()
			for range 6 {
				w.feed(100)
				w.pause()
				w.feed(50)
				w.mishap()
			}
			w.feed(100)
			w.drained()
			w.check()
		})
	}
}
