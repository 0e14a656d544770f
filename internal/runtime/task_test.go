// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/invariant"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/state"
)

// outputs keeps what a task sends.
type outputs struct{ got []string }

func (o *outputs) Output(topic string) plan.Output {
	return func(key, value []byte, _ int64, _ []plan.Header) error {
		o.got = append(o.got, topic+" "+string(key)+"="+string(value))
		return nil
	}
}

// newTask opens the stores of a plan's first sub-topology in memory.
func newTask(t *testing.T, p *plan.Plan, out runtime.Outputs) *runtime.Task {
	t.Helper()
	db, err := state.Memory().Open("task")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	var stores []state.Store
	for _, def := range p.Subs[0].Stores {
		base, err := db.Base(def.Name)
		if err != nil {
			t.Fatal(err)
		}
		stores = append(stores, def.Open(base, state.Options{}))
	}
	task, err := runtime.NewTask(runtime.TaskConfig{Sub: p.Subs[0], Partition: 2, Stores: stores, Out: out})
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func TestTaskProcessesSealsAndCommits(t *testing.T) {
	out := &outputs{}
	task := newTask(t, counting(t, "n"), out)
	if err := task.Process("in", raws("a", "b", "a")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"out a=1", "out b=1", "out a=2"}, out.got); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
	if task.StreamTime() != 2 || task.Records() != 3 {
		t.Errorf("stream time %d, records %d; want 2 and 3", task.StreamTime(), task.Records())
	}
	sealed, err := task.Seal()
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]runtime.Position{"in": {Offset: 3, Epoch: 3}}; !cmp.Equal(sealed.Next, want) {
		t.Errorf("next positions %v, want %v", sealed.Next, want)
	}
	if len(sealed.Layers) != 1 || sealed.Layers[0].Layer.Len() != 2 {
		t.Fatalf("sealed %v, want one layer with two keys", sealed.Layers)
	}
	err = task.Commit(sealed, func(state.Store) state.Header { return state.Header{Position: 2} })
	if err != nil {
		t.Fatal(err)
	}
	if sealed, err = task.Seal(); err != nil || len(sealed.Layers) != 0 {
		t.Errorf("second seal: %v, %v; want no layer", sealed.Layers, err)
	}
}

func TestTaskDiscardGoesBackToTheLastCommit(t *testing.T) {
	out := &outputs{}
	task := newTask(t, counting(t, "n"), out)
	for _, batch := range [][]plan.Raw{raws("a"), raws("a", "a")} {
		if err := task.Process("in", batch); err != nil {
			t.Fatal(err)
		}
		sealed, err := task.Seal()
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 1 {
			if err := task.Commit(sealed, func(state.Store) state.Header { return state.Header{} }); err != nil {
				t.Fatal(err)
			}
		}
	}
	task.Discard()
	if err := task.Process("in", raws("a")); err != nil {
		t.Fatal(err)
	}
	if last := out.got[len(out.got)-1]; last != "out a=2" {
		t.Errorf("after Discard the next count is %q, want a=2", last)
	}
}

func TestTaskNamesTheRecordThatFails(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name string
		op   func(plan.Env, entry) entry
		recs []plan.Raw
		want []string
	}{
		{
			"a record that cannot be decoded", passOn,
			[]plan.Raw{{Value: []byte("ok"), Offset: 7}, {Value: []byte("garbage"), Offset: 8}},
			[]string{"task in-2", "offset 8 of in-2", "source at test:1", "decode the value: garbage"},
		},
		{
			"an error of an operator",
			func(plan.Env, entry) entry { return func(rec) error { return boom } },
			[]plan.Raw{{Offset: 5}},
			[]string{"offset 5 of in-2", "boom"},
		},
		{
			"a panic",
			func(plan.Env, entry) entry { return func(rec) error { panic(boom) } },
			[]plan.Raw{{Offset: 6}},
			[]string{"offset 6 of in-2", "panic at ", "task_test.go:", "boom"},
		},
		{
			"a negative timestamp", passOn,
			[]plan.Raw{{Offset: 9, Timestamp: -1}},
			[]string{"offset 9 of in-2", "timestamp -1"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := plan.NewGraph("app")
			g.Add(operator("op", tt.op), g.Add(source("in")))
			err := newTask(t, build(t, g), &outputs{}).Process("in", tt.recs)
			_, ok := errors.AsType[*runtime.RecordError](err)
			if !ok {
				t.Fatalf("error %v is no *RecordError", err)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not contain %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "boom") && !errors.Is(err, boom) {
				t.Errorf("error %v does not wrap the cause", err)
			}
		})
	}
}

func passOn(_ plan.Env, next entry) entry { return next }

func TestTaskRunsEveryRecordThroughAllSourcesOfATopic(t *testing.T) {
	g := plan.NewGraph("app")
	a, b := g.Add(source("in")), g.Add(source("in"))
	g.Add(sink("first", false), a)
	g.Add(sink("second", false), b)
	out := &outputs{}
	if err := newTask(t, build(t, g), out).Process("in", raws("x", "y")); err != nil {
		t.Fatal(err)
	}
	want := []string{"first x=v", "second x=v", "first y=v", "second y=v"}
	if diff := cmp.Diff(want, out.got); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
}

func TestTaskCommitHooksRunInTheOrderOfTheGraph(t *testing.T) {
	atCommit := func(name string) func(plan.Env, entry) entry {
		return func(env plan.Env, next entry) entry {
			n := &plan.Node{Op: name}
			n.ID = map[string]int{"up": 1, "down": 2}[name]
			env.AtCommit(n, func() error { return next(rec{key: name, value: "c"}) })
			return next
		}
	}
	g := plan.NewGraph("app")
	up := g.Add(operator("up", atCommit("up")), g.Add(source("in")))
	down := g.Add(operator("down", atCommit("down")), up)
	g.Add(sink("out", false), down)
	out := &outputs{}
	if _, err := newTask(t, build(t, g), out).Seal(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"out up=c", "out down=c"}, out.got); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
}

func TestTaskAllocatesNothingPerRecord(t *testing.T) {
	if invariant.Enabled {
		t.Skip("stores check what they are given, which allocates")
	}
	g := plan.NewGraph("app")
	n := g.AddStore(countStore("n"))
	g.Add(&plan.Node{
		Kind: plan.Source, Op: "source", Topic: "in", Stores: []*plan.Store{n},
		Input: func(env plan.Env, _ []any) (plan.Input, error) {
			s := env.Store("n").(*state.KeyValueStore[string, int64])
			var got *plan.Raw
			return plan.Input{
				Decode: func(r *plan.Raw, _ int64) (int64, error) { got = r; return r.Timestamp, nil },
				Run: func() error {
					c, err := s.Cell("key")
					if err != nil {
						return err
					}
					s.Set(c, c.Value+1, got.Timestamp)
					return nil
				},
			}, nil
		},
	})
	task := newTask(t, build(t, g), &outputs{})
	batch := raws(strings.Split(strings.Repeat("k,", 999)+"k", ",")...)
	allocs := testing.AllocsPerRun(10, func() {
		if err := task.Process("in", batch); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 2 {
		t.Errorf("%v allocations for a batch of %d records, want at most 2", allocs, len(batch))
	}
}
