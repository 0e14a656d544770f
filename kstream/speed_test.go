// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/invariant"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topic"
	"github.com/millrace/millrace/window"
)

// numbers is a topic whose keys and values take no memory of their own when decoded.
func numbers(name string) topic.Topic[int64, int64] { return topic.Of[int64, int64](name) }

func number(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// speedTopologies are those whose way is pinned and measured.
var speedTopologies = []struct {
	name   string
	allocs float64 // a record, with what a commit takes shared out over 5000
	build  func(in *kstream.KStream[int64, int64], other *kstream.KStream[int64, int64])
}{
	{"map", 0, func(in, _ *kstream.KStream[int64, int64]) {
		in.MapValues(func(v int64) int64 { return v + 1 }).To(numbers("out"))
	}},
	{"filter", 0, func(in, _ *kstream.KStream[int64, int64]) {
		in.Filter(func(_, v int64) bool { return v%2 == 0 }).To(numbers("out"))
	}},
	{"count", 0, func(in, _ *kstream.KStream[int64, int64]) { in.GroupByKey().Count("n").To(numbers("out")) }},
	{"tumbling", 0.05, func(in, _ *kstream.KStream[int64, int64]) {
		in.GroupByKey().Windowed(window.Tumbling(time.Minute)).Count("n", ktable.Retention(time.Hour))
	}},
	{"hopping", 0.1, func(in, _ *kstream.KStream[int64, int64]) {
		in.GroupByKey().Windowed(window.Hopping(time.Minute, 10*time.Second)).Count("n", ktable.Retention(time.Hour))
	}},
	{"session", 0.02, func(in, _ *kstream.KStream[int64, int64]) {
		in.GroupByKey().Sessions(window.Session(time.Second)).Count("n", ktable.Retention(time.Minute))
	}},
	{"join", 0.02, func(in, other *kstream.KStream[int64, int64]) {
		in.Join("both", other, window.Within(time.Second), func(a, b int64) int64 { return a + b }).To(numbers("out"))
	}},
}

// nowhere takes records and keeps none.
type nowhere struct{}

func (nowhere) Output(string) plan.Output {
	return func(_, _ []byte, _ int64, _ []plan.Header) error { return nil }
}

// speedTask is the task of a topology over stores in memory.
type speedTask struct {
	task  *runtime.Task
	batch [2][]plan.Raw // of topics in and other
	at    int64
}

func newSpeedTask(t testing.TB, build func(in, other *kstream.KStream[int64, int64])) *speedTask {
	t.Helper()
	top := processor.NewTopology("speed")
	build(kstream.From(top, numbers("in")), kstream.From(top, numbers("other")))
	p, err := top.Graph().Build()
	if err != nil {
		t.Fatal(err)
	}
	backend := state.Memory()
	db, err := backend.Open("task")
	if err != nil {
		t.Fatal(err)
	}
	s := &speedTask{}
	for _, sub := range p.Subs {
		if sub.Sources[0].Topic != "in" && len(sub.Sources) == 1 {
			continue
		}
		var stores []state.Store
		for _, def := range sub.Stores {
			base, err := db.Base(def.Name)
			if err != nil {
				t.Fatal(err)
			}
			stores = append(stores, def.Open(base, state.Options{}))
		}
		if s.task, err = runtime.NewTask(runtime.TaskConfig{Sub: sub, Stores: stores, Out: nowhere{}}); err != nil {
			t.Fatal(err)
		}
	}
	for side := range s.batch {
		for i := range int64(500) {
			s.batch[side] = append(s.batch[side], plan.Raw{Key: number(i % 100), Value: number(i)})
		}
	}
	return s
}

// run processes 5000 records, half of them of each topic if both are wanted, and commits.
func (s *speedTask) run(t testing.TB, both bool) {
	t.Helper()
	for i := range 10 {
		side, name := 0, "in"
		if both && i%2 == 1 {
			side, name = 1, "other"
		}
		for j := range s.batch[side] {
			s.at++
			s.batch[side][j].Timestamp, s.batch[side][j].Offset = s.at, s.at
		}
		if err := s.task.Process(name, s.batch[side]); err != nil {
			t.Fatal(err)
		}
	}
	sealed, err := s.task.Seal()
	if err == nil {
		err = s.task.Commit(sealed, func(store state.Store) state.Header {
			return state.Header{Kind: store.Kind(), Serdes: store.Serdes(), Format: state.Format, Position: s.at}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestNothingIsAllocatedForARecord(t *testing.T) {
	if invariant.Enabled {
		t.Skip("stores check what they are given, which allocates")
	}
	for _, top := range speedTopologies {
		t.Run(top.name, func(t *testing.T) {
			s := newSpeedTask(t, top.build)
			both := top.name == "join"
			for range 5 {
				s.run(t, both) // what is used again grows
			}
			// A commit with its layer, and windows of 100 keys that are new, take some.
			most := top.allocs*5000 + 250
			if got := testing.AllocsPerRun(10, func() { s.run(t, both) }); got > most {
				t.Errorf("%v allocations for 5000 records and a commit, want at most %v", got, most)
			}
		})
	}
}

// BenchmarkEngine is what the engine itself costs: 5000 records, and a commit whose
// changelog goes nowhere.
func BenchmarkEngine(b *testing.B) {
	for _, top := range speedTopologies {
		b.Run("workload="+top.name, func(b *testing.B) {
			s := newSpeedTask(b, top.build)
			b.ReportAllocs()
			for b.Loop() {
				s.run(b, top.name == "join")
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/5000, "ns/record")
		})
	}
}
