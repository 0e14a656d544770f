// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// hot is in -> count of the key, without a sink: what the engine itself costs.
func hot(t testing.TB, topic string) *plan.Plan {
	g := plan.NewGraph("hot")
	n := g.AddStore(&plan.Store{Name: "n", Open: func(b state.Base, o state.Options) state.Store {
		return state.OpenKeyValue("n", serde.Bytes, serde.Int64, b, o)
	}})
	g.Add(&plan.Node{
		Kind: plan.Source, Op: "source", Topic: topic, Stores: []*plan.Store{n},
		Input: func(env plan.Env, _ []any) (plan.Input, error) {
			s := env.Store("n").(*state.KeyValueStore[[]byte, int64])
			var got *plan.Raw
			return plan.Input{
				Decode: func(r *plan.Raw, _ int64) (int64, error) { got = r; return r.Timestamp, nil },
				Run: func() error {
					c, err := s.Cell(got.Key)
					if err != nil {
						return err
					}
					s.Set(c, c.Value+1, got.Timestamp)
					return nil
				},
			}, nil
		},
	})
	return build(t, g)
}

// BenchmarkCount is a hot count of records of 100 bytes over 10 thousand keys,
// fetched from the bundled broker in the same process.
func BenchmarkCount(b *testing.B) {
	const records = 1_000_000
	target := bundled(b, broker.Config{})
	cl := target.client(b, kgo.DefaultProduceTopic("hot-in"))
	target.create(b, 4, "hot-in")
	noise := make([]byte, 1<<20) // values that do not compress to nothing
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	for i := range records {
		at := i * 31 % (len(noise) - 100)
		cl.Produce(b.Context(), &kgo.Record{
			Key: strconv.AppendInt(nil, int64(i*7919%10_000), 10), Value: noise[at : at+100],
		}, nil)
	}
	if err := cl.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	for run := 0; b.Loop(); run++ {
		p := &process{b: target}
		pl := hot(b, "hot-in")
		pl.App += strconv.Itoa(run) // each begins at the start
		a := p.start(b, pl)
		waitFor(b, "all counted", func() bool { return a.Progress().Records >= records })
		if err := closeApp(a); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/records, "ns/record")
}

func TestChoosingAPartitionAllocatesNothing(t *testing.T) {
	key, met := []byte("user-00000000"), [4]int{}
	if got := testing.AllocsPerRun(1000, func() {
		key[len(key)-1]++
		met[link.PartitionFor(key, int32(len(met)))]++
	}); got != 0 {
		t.Errorf("%v allocations to choose a partition, want none", got)
	}
	if slices.Contains(met[:], 0) {
		t.Errorf("the records of 256 keys are shared out as %v", met)
	}
}

// BenchmarkTask is the task core alone.
func BenchmarkTask(b *testing.B) {
	pl := hot(b, "in")
	db, err := state.Memory().Open("task")
	if err != nil {
		b.Fatal(err)
	}
	base, err := db.Base("n")
	if err != nil {
		b.Fatal(err)
	}
	stores := []state.Store{pl.Subs[0].Stores[0].Open(base, state.Options{})}
	task, err := runtime.NewTask(runtime.TaskConfig{Sub: pl.Subs[0], Stores: stores, Out: &outputs{}})
	if err != nil {
		b.Fatal(err)
	}
	batch := make([]plan.Raw, 10_000)
	for i := range batch {
		batch[i] = plan.Raw{Key: strconv.AppendInt(nil, int64(i*7919%10_000), 10)}
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := task.Process("in", batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/record")
}
