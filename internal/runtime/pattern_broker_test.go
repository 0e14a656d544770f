// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/link"
)

// patient waits for a condition as long as a loaded machine may need.
func patient(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.Now().Add(2 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(limit) {
			t.Fatalf("%s: not within 2 minutes", what)
		}
		<-tick.C
	}
}

// counter gives a function that tells how many records a topic holds.
func (b target) counter(t *testing.T) func(topic string) int64 {
	t.Helper()
	adm := kadm.NewClient(b.client(t))
	return func(topic string) int64 {
		ends, err := adm.ListEndOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		var n int64
		ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
		return n
	}
}

// inputsOf counts the inputs of all tasks of apps that run.
func inputsOf(apps ...*runtime.App) int {
	n := 0
	for _, a := range apps {
		p := a.Progress()
		if p.State != runtime.Running {
			return -1
		}
		for _, task := range p.Tasks {
			n += len(task.Inputs)
		}
	}
	return n
}

// A topic that matches appears under two instances that run, and goes again: all records
// are counted once, and the tasks that are there stay.
func TestAPatternOnBrokers(t *testing.T) {
	onBrokers(t, func(t *testing.T, b target) {
		b.create(t, 4, "pat-in-a", "pat-out")
		written := b.counter(t)
		var built atomic.Int64
		g := plan.NewGraph("pat")
		st := g.AddStore(countStore("n"))
		counter := count("n")
		g.Add(sink("pat-out", false), g.Add(operator("count", func(env plan.Env, next entry) entry {
			built.Add(1)
			return counter(env, next)
		}, st), g.Add(matching("pat-in-.*"))))
		pl := build(t, g)
		often := func(cfg *runtime.Config) { cfg.TopicsInterval = 100 * time.Millisecond }
		first, second := (&process{b: b}).start(t, pl, often), (&process{b: b}).start(t, pl, often)
		patient(t, "each instance runs two tasks", func() bool {
			return running(first) == 2 && running(second) == 2 && inputsOf(first, second) == 4
		})
		want := b.fill(t, "pat-in-a", 2_000)
		patient(t, "the first topic is counted", func() bool { return written("pat-out") >= 2_000 })
		before := built.Load()

		b.create(t, 4, "pat-in-b")
		add := func(topic string, n int) {
			for k, m := range b.fill(t, topic, n) {
				want[k] += m
			}
		}
		add("pat-in-b", 2_000)
		add("pat-in-a", 1_000)
		patient(t, "the new topic is an input of all tasks", func() bool { return inputsOf(first, second) == 8 })
		add("pat-in-b", 1_000)
		patient(t, "all is counted", func() bool { return written("pat-out") >= 6_000 })
		if n := built.Load() - before; n != 0 {
			t.Errorf("%d tasks were built anew, want none: tasks that stay keep running", n)
		}
		if err := closeApp(second); err != nil {
			t.Fatal(err)
		}
		add("pat-in-a", 500)
		add("pat-in-b", 500)
		patient(t, "one instance goes on with all", func() bool {
			return written("pat-out") >= 7_000 && inputsOf(first) == 8
		})

		if _, err := kadm.NewClient(b.client(t)).DeleteTopics(t.Context(), "pat-in-b"); err != nil {
			t.Fatal(err)
		}
		patient(t, "the topic is an input no more", func() bool { return inputsOf(first) == 4 && running(first) == 4 })
		add("pat-in-a", 500)
		patient(t, "the rest goes on", func() bool { return written("pat-out") >= 7_500 })
		if err := closeApp(first); err != nil {
			t.Fatal(err)
		}
		if n := written("pat-out"); n != 7_500 {
			t.Errorf("%d records were written for 7500, each counts once", n)
		}
		for _, topic := range []string{"pat-out", "pat-n-changelog"} {
			if diff := cmp.Diff(want, b.outputs(t, topic)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", topic, diff)
			}
		}
	})
}

// Partitions that are added get tasks where nothing hangs on their number, and end an
// application whose state does.
func TestPartitionsAreAddedOnBrokers(t *testing.T) {
	onBrokers(t, func(t *testing.T, b target) {
		often := func(cfg *runtime.Config) { cfg.TopicsInterval = 100 * time.Millisecond }
		b.create(t, 2, "more-in", "more-out")
		written := b.counter(t)
		g := plan.NewGraph("more")
		g.Add(sink("more-out", false), g.Add(source("more-in")))
		passes := (&process{b: b}).start(t, build(t, g), often)
		second := (&process{b: b}).start(t, build(t, g), often)
		g = plan.NewGraph("stuck")
		st := g.AddStore(countStore("n"))
		g.Add(operator("count", count("n"), st), g.Add(source("more-in")))
		cfg := runtime.Config{
			Link: link.Config{Brokers: []string{b.addr}, Dialer: b.dial}, Log: slog.New(slog.DiscardHandler),
		}
		often(&cfg)
		counts, err := runtime.Start(t.Context(), build(t, g), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = closeApp(counts) }) // it has failed by then
		b.fill(t, "more-in", 500)
		patient(t, "all run", func() bool {
			return running(passes) == 1 && running(second) == 1 && running(counts) == 2 && written("more-out") >= 500
		})
		if _, err := kadm.NewClient(b.client(t)).CreatePartitions(t.Context(), 3, "more-in"); err != nil {
			t.Fatal(err)
		}
		patient(t, "there are as many tasks as partitions", func() bool { return running(passes)+running(second) == 5 && inputsOf(passes, second) == 5 })
		b.fill(t, "more-in", 1_000)
		patient(t, "all is passed on", func() bool { return written("more-out") >= 1_500 })
		patient(t, "the application with state has ended", func() bool { return counts.State() == runtime.Failed })
		said(t, counts.Err(), `topic "stuck-n-changelog" has 2 partitions, not 5`, "[more-in]", "reset the application")
		for _, a := range []*runtime.App{passes, second} {
			if err := closeApp(a); err != nil {
				t.Fatal(err)
			}
		}
		if n := written("more-out"); n != 1_500 {
			t.Errorf("%d records were written for 1500", n)
		}
	})
}
