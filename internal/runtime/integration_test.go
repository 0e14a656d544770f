// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/internal/kafkatest"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/serde"
)

// A target is a broker to run on.
type target struct {
	addr string
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// onBrokers runs a test on the bundled broker and on Apache Kafka.
func onBrokers(t *testing.T, test func(t *testing.T, b target)) {
	t.Run("bundled", func(t *testing.T) { test(t, bundled(t, broker.Config{})) })
	t.Run("kafka", func(t *testing.T) {
		if testing.Short() {
			t.Skip("-short")
		}
		test(t, target{addr: kafkatest.Shared(t).Addr, dial: (&net.Dialer{}).DialContext})
	})
}

func bundled(t testing.TB, cfg broker.Config) target {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	b, err := broker.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the broker: %v", err)
		}
	})
	return target{addr: b.Addr(), dial: b.Dial}
}

func (b target) client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.addr), kgo.Dialer(b.dial))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func (b target) create(t testing.TB, partitions int32, topics ...string) {
	t.Helper()
	resp, err := kadm.NewClient(b.client(t)).CreateTopics(t.Context(), partitions, 1, nil, topics...)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// fill produces n records with the keys k0 to k99 in turn, and returns the counts.
func (b target) fill(t *testing.T, topic string, n int) map[string]int64 {
	t.Helper()
	cl := b.client(t, kgo.DefaultProduceTopic(topic))
	want := map[string]int64{}
	var recs []*kgo.Record
	for i := range n {
		key := "k" + strconv.Itoa(i%100)
		want[key]++
		recs = append(recs, &kgo.Record{Key: []byte(key), Value: []byte("v")})
	}
	if err := cl.ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return want
}

// outputs reads a topic to its end: the last value of each key. It fails if a
// key's values go down.
func (b target) outputs(t *testing.T, topic string) map[string]int64 {
	t.Helper()
	cl := b.client(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	var left int64
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	got := map[string]int64{}
	for left > 0 {
		fetches := cl.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			n, err := strconv.ParseInt(string(r.Value), 10, 64)
			if err != nil {
				if n, err = serde.Int64.Decode(r.Value); err != nil {
					t.Fatal(err)
				}
			}
			if n < got[string(r.Key)] {
				t.Errorf("%s: the count of %s goes down from %d to %d", topic, r.Key, got[string(r.Key)], n)
			}
			got[string(r.Key)] = n
		})
	}
	return got
}

// a process is what an App runs in, as far as the network and the disk can tell.
type process struct {
	b target

	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

func (p *process) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := p.b.dial(ctx, network, address)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil && p.dead {
		_ = conn.Close()
		return nil, errDown
	}
	p.conns = append(p.conns, conn)
	return conn, err
}

// cut ends all connections; no new ones come up.
func (p *process) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
	for _, c := range p.conns {
		if c != nil {
			_ = c.Close()
		}
	}
}

func (p *process) start(t testing.TB, pl *plan.Plan, with ...func(*runtime.Config)) *runtime.App {
	t.Helper()
	cfg := runtime.Config{
		Link:    link.Config{Brokers: []string{p.b.addr}, Dialer: p.dial},
		Workers: 2, CommitInterval: 100 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	}
	for _, w := range with {
		w(&cfg)
	}
	a, err := runtime.Start(context.Background(), pl, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := closeApp(a); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: %v", err)
		}
	})
	return a
}

// wordcount is in -> repartition topic -> count -> out, in the name of the test.
func wordcount(t *testing.T, app string) *plan.Plan {
	g := plan.NewGraph(app)
	re := g.Repartition("re")
	g.Add(sink(re, true), g.Add(source(app+"-in")))
	again := source(re)
	again.Internal = true
	s := g.AddStore(countStore("n"))
	g.Add(sink(app+"-out", false), g.Add(operator("count", count("n"), s), g.Add(again)))
	return build(t, g)
}

// settled tells whether apps have processed and committed all there is, total
// records of the input that every one of them has seen among them.
func settled(apps ...*runtime.App) func() bool {
	return func() bool {
		tasks := 0
		for _, a := range apps {
			p := a.Progress()
			if p.State != runtime.Running {
				return false
			}
			for _, task := range p.Tasks {
				tasks++
				for _, in := range task.Inputs {
					if in.Position != in.End || in.Committed < in.Position && in.End > 0 {
						return false
					}
				}
			}
		}
		return tasks == 16 // two sub-topologies over 8 partitions
	}
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	limit := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(limit) {
			t.Fatalf("%s: not within 30 s", what)
		}
		<-tick.C
	}
}

// through waits until the outputs add up to the truth.
func (b target) through(t *testing.T, topic string, total int64) {
	t.Helper()
	adm := kadm.NewClient(b.client(t))
	waitFor(t, fmt.Sprintf("%d records in %s", total, topic), func() bool {
		ends, err := adm.ListEndOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		var n int64
		ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
		return n >= total
	})
}

func TestWordCountOnBrokers(t *testing.T) {
	onBrokers(t, func(t *testing.T, b target) {
		for _, n := range []int{1, 3} {
			t.Run(fmt.Sprintf("instances=%d", n), func(t *testing.T) {
				name := fmt.Sprintf("wc%d", n)
				b.create(t, 8, name+"-in", name+"-out")
				want := b.fill(t, name+"-in", 20_000)
				pl := wordcount(t, name)
				var apps []*runtime.App
				for range n {
					apps = append(apps, (&process{b: b}).start(t, pl))
				}
				b.through(t, name+"-out", 20_000)
				waitFor(t, "all instances settled", settled(apps...))
				for _, a := range apps[1:] { // those that stay take over
					if err := closeApp(a); err != nil {
						t.Fatal(err)
					}
				}
				for k, m := range b.fill(t, name+"-in", 10_000) {
					want[k] += m
				}
				b.through(t, name+"-out", 30_000)
				if err := closeApp(apps[0]); err != nil {
					t.Fatal(err)
				}
				for _, topic := range []string{name + "-out", name + "-n-changelog"} {
					if diff := cmp.Diff(want, b.outputs(t, topic)); diff != "" {
						t.Errorf("%s (-want +got):\n%s", topic, diff)
					}
				}
			})
		}
	})
}

func TestAProcessThatIsKilledComesBackAtOnce(t *testing.T) {
	onBrokers(t, func(t *testing.T, b target) {
		name := "killed"
		b.create(t, 8, name+"-in", name+"-out")
		want := b.fill(t, name+"-in", 20_000)
		pl := wordcount(t, name)
		dir := t.TempDir()
		d := newDisk(dir)
		first := &process{b: b}
		a := first.start(t, pl, onDisk(d))
		b.through(t, name+"-out", 5_000)
		d.crash()
		first.cut()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := a.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("the dead process closes with %v", err)
		}
		d.recover(false)
		began := time.Now()
		second := (&process{b: b}).start(t, pl, onDisk(d))
		waitFor(t, "the restarted process runs", func() bool { return len(second.Progress().Tasks) == 16 && second.State() == runtime.Running })
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %s to come back, as if the session of 45 s were waited for", took)
		}
		for k, m := range b.fill(t, name+"-in", 1_000) {
			want[k] += m
		}
		waitFor(t, "settled", settled(second))
		if err := closeApp(second); err != nil {
			t.Fatal(err)
		}
		got := b.outputs(t, name+"-n-changelog")
		for k, n := range want { // each of the two sub-topologies may have read all twice
			if got[k] < n || got[k] > 4*n {
				t.Errorf("count of %s is %d, want %d, or a little more", k, got[k], n)
			}
		}
		if len(d.causes) > 0 {
			t.Errorf("a crash had state set aside: %v", d.causes)
		}
	})
}

func TestTasksSurviveARestartOfTheBroker(t *testing.T) {
	dir := t.TempDir()
	open := func() *broker.Broker {
		b, err := broker.Open(t.Context(), broker.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	now := open()
	var mu sync.Mutex
	b := target{addr: now.Addr(), dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if now == nil {
			return nil, errors.New("connection refused")
		}
		return now.Dial(ctx, network, address)
	}}
	b.create(t, 8, "restart-in", "restart-out")
	want := b.fill(t, "restart-in", 1000)
	var log logBuffer
	a := (&process{b: b}).start(t, wordcount(t, "restart"), log.into)
	b.through(t, "restart-out", 1000)
	waitFor(t, "settled", settled(a))
	mu.Lock()
	if err := now.Close(); err != nil {
		t.Fatal(err)
	}
	now = nil
	mu.Unlock()
	waitFor(t, "the loss of the broker seen", func() bool { return a.State() == runtime.WaitingForBroker })
	mu.Lock()
	now = open()
	mu.Unlock()
	for k, n := range b.fill(t, "restart-in", 1000) {
		want[k] += n
	}
	b.through(t, "restart-out", 2000)
	waitFor(t, "running", func() bool { return a.State() == runtime.Running })
	var restored int64
	for _, task := range a.Progress().Tasks {
		restored += task.Restored
	}
	if restored != 0 {
		t.Errorf("%d changelog records were restored: the tasks were not kept", restored)
	}
	if err := closeApp(a); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, b.outputs(t, "restart-n-changelog")); diff != "" {
		t.Errorf("changelog (-want +got):\n%s", diff)
	}
	if n := log.count("waiting for one"); n != 1 {
		t.Errorf("logged %d times that it waits, want once", n)
	}
	mu.Lock()
	defer mu.Unlock()
	if err := now.Close(); err != nil {
		t.Fatal(err)
	}
}
