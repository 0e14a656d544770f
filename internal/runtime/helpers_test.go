// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/internal/runtime/link/linktest"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rec is what hand-made nodes pass on.
type rec struct {
	key, value string
	time       int64
}

type entry = func(rec) error

func source(topic string) *plan.Node {
	return &plan.Node{
		Kind: plan.Source, Op: "source", Site: "test:1", Topic: topic,
		Input: func(_ plan.Env, outs []any) (plan.Input, error) {
			var got rec
			return plan.Input{
				Decode: func(r *plan.Raw, _ int64) (int64, error) {
					if string(r.Value) == "garbage" {
						return 0, fmt.Errorf("decode the value: garbage")
					}
					got = rec{string(r.Key), string(r.Value), r.Timestamp}
					return r.Timestamp, nil
				},
				Run: func() error { return each(outs, got) },
			}, nil
		},
	}
}

func each(outs []any, r rec) error {
	for _, o := range outs {
		if err := o.(entry)(r); err != nil {
			return err
		}
	}
	return nil
}

func operator(op string, build func(env plan.Env, next entry) entry, stores ...*plan.Store) *plan.Node {
	return &plan.Node{
		Kind: plan.Operator, Op: op, Site: "test:2", Stores: stores,
		Make: func(env plan.Env, outs []any) (any, error) {
			return build(env, func(r rec) error { return each(outs, r) }), nil
		},
	}
}

func sink(topic string, internal bool) *plan.Node {
	n := &plan.Node{Kind: plan.Sink, Op: "sink", Site: "test:3", Topic: topic, Internal: internal}
	n.Make = func(env plan.Env, _ []any) (any, error) {
		out := env.Output(n)
		return func(r rec) error {
			err := out([]byte(r.key), []byte(r.value), r.time, nil)
			if errors.Is(err, plan.ErrTooLarge) {
				_, err = env.Failed(n, plan.Producing, 0, err)
			}
			return err
		}, nil
	}
	return n
}

func countStore(name string) *plan.Store {
	return &plan.Store{Name: name, Site: "test:4", Open: func(b state.Base, o state.Options) state.Store {
		return state.OpenKeyValue(name, serde.String, serde.Int64, b, o)
	}}
}

// count adds up in stores, all alike, and sends each new count on.
func count(names ...string) func(env plan.Env, next entry) entry {
	return func(env plan.Env, next entry) entry {
		var stores []*state.KeyValueStore[string, int64]
		for _, n := range names {
			stores = append(stores, env.Store(n).(*state.KeyValueStore[string, int64]))
		}
		return func(r rec) error {
			var n int64
			for _, s := range stores {
				c, err := s.Cell(r.key)
				if err != nil {
					return err
				}
				n = c.Value + 1
				s.Set(c, n, r.time)
			}
			return next(rec{r.key, strconv.FormatInt(n, 10), r.time})
		}
	}
}

// counting is in -> count -> out, over stores of the given names.
func counting(t testing.TB, names ...string) *plan.Plan {
	t.Helper()
	g := plan.NewGraph("app")
	var stores []*plan.Store
	for _, n := range names {
		stores = append(stores, g.AddStore(countStore(n)))
	}
	in := g.Add(source("in"))
	c := g.Add(operator("count", count(names...), stores...), in)
	g.Add(sink("out", false), c)
	return build(t, g)
}

func build(t testing.TB, g *plan.Graph) *plan.Plan {
	t.Helper()
	p, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// raws makes records with the given keys, at offsets from 0.
func raws(keys ...string) []plan.Raw {
	var recs []plan.Raw
	for i, k := range keys {
		recs = append(recs, plan.Raw{Key: []byte(k), Value: []byte("v"), Timestamp: int64(i), Offset: int64(i), Epoch: 3})
	}
	return recs
}

// fill puts n records into topic in, keys k0 to k9 in turn, and returns the counts.
func fill(c *linktest.Cluster, n int) map[string]int64 {
	want := map[string]int64{}
	for i := range n {
		key := "k" + strconv.Itoa(i%10)
		want[key]++
		c.Append("in", link.AnyPartition, plan.Raw{Key: []byte(key), Value: []byte("v"), Timestamp: int64(i)})
	}
	return want
}

// cluster has topics in and out.
func cluster(partitions int32) *linktest.Cluster {
	c := linktest.New("cluster-1")
	c.Create("in", partitions, nil)
	c.Create("out", 1, nil)
	return c
}

// app starts p with settings for tests and closes it at the end of t.
func app(t *testing.T, c *linktest.Cluster, p *plan.Plan, with ...func(*runtime.Config)) *runtime.App {
	t.Helper()
	cfg := runtime.Config{
		Connect: c.Connect, Workers: 2, CommitInterval: 50 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	}
	for _, w := range with {
		w(&cfg)
	}
	a, err := runtime.Start(t.Context(), p, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = closeApp(a) })
	return a
}

func closeApp(a *runtime.App) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return a.Close(ctx)
}

// until waits for a condition that other goroutines bring about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(limit) {
			t.Fatalf("%s: not within 10 s", what)
		}
		<-tick.C
	}
}

// committed waits until all of topic in is committed.
func committed(t *testing.T, c *linktest.Cluster) {
	t.Helper()
	info, _ := c.Topic("in")
	until(t, "all input committed", func() bool {
		for n := range info.Partitions {
			p := link.Partition{Topic: "in", Num: n}
			if recs := c.Records(p); len(recs) > 0 && c.Committed("app", p) != recs[len(recs)-1].Offset+1 {
				return false
			}
		}
		return true
	})
}

// folded is what a changelog says: the last value of each key.
func folded(c *linktest.Cluster, topic string) map[string]int64 {
	got := map[string]int64{}
	info, _ := c.Topic(topic)
	for n := range info.Partitions {
		for _, r := range c.Records(link.Partition{Topic: topic, Num: n}) {
			v, err := serde.Int64.Decode(r.Value)
			if err != nil {
				panic(err)
			}
			got[string(r.Key)] = v
		}
	}
	return got
}

// stored reads what the bases of a backend hold, as a new process finds them: with
// what the changelog has beyond their positions.
func stored(t *testing.T, b state.Backend, store string, partitions int32) (map[string]int64, []state.Header) {
	t.Helper()
	got := map[string]int64{}
	var headers []state.Header
	for n := range partitions {
		db, err := b.Open(fmt.Sprintf("cluster-1/app/in-%d", n))
		if err != nil {
			t.Fatal(err)
		}
		base, err := db.Base(store)
		if err != nil {
			t.Fatal(err)
		}
		h, _, err := base.Header()
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, h)
		it, err := base.Iterate(nil, nil, state.Forward)
		if err != nil {
			t.Fatal(err)
		}
		for it.Next() {
			v, err := serde.Int64.Decode(it.Value()[8:])
			if err != nil {
				t.Fatal(err)
			}
			got[string(it.Key())] = v
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return got, headers
}

// logBuffer keeps what is logged.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) count(s string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.buf.String(), s)
}

func (b *logBuffer) into(cfg *runtime.Config) {
	cfg.Log = slog.New(slog.NewTextHandler(b, nil))
}
