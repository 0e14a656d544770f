// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/internal/runtime/link/linktest"
)

// failingCount is counting, with a step behind the count that fails at each of the
// given records of the application, once.
func failingCount(t testing.TB, app, topics string, at ...int64) *plan.Plan {
	g := plan.NewGraph(app)
	var seen atomic.Int64
	fragile := func(_ plan.Env, next entry) entry {
		return func(r rec) error {
			n := seen.Add(1)
			for _, fail := range at {
				if n == fail {
					panic("fragile")
				}
			}
			return next(r)
		}
	}
	c := g.Add(operator("count", count("n"), g.AddStore(countStore("n"))), g.Add(source(topics+"in")))
	g.Add(sink(topics+"out", false), g.Add(operator("fragile", fragile), c))
	return build(t, g)
}

func TestTasksThatFailAreStartedAgainFromTheLastCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster(4)
		want := fill(c, 4000)
		logs := &logBuffer{}
		a := app(t, c, failingCount(t, "app", "", 700, 3000, 3001), logs.into, func(cfg *runtime.Config) {
			cfg.OnFailure = runtime.RestartTasks
		})
		committed(t, c)
		if err := a.Err(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, folded(c, "app-n-changelog")); diff != "" {
			t.Errorf("counts (-want +got):\n%s", diff)
		}
		if n := a.Progress().Restarts; n < 2 || n > 3 {
			t.Errorf("%d restarts, want 3, or 2 where two failures met", n)
		}
		if logs.count("fragile") == 0 {
			t.Error("the failure is not in the log")
		}
		if err := closeApp(a); err != nil {
			t.Fatal(err)
		}
	})
}

// A lane that has failed stays so: the tasks get another one.
func TestAFailedProduceRestartsTheTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster(2)
		var failed atomic.Bool
		c.Fault(func(step string, _ link.Partition) error {
			if step == "ack" && failed.CompareAndSwap(false, true) {
				return errors.New("not enough replicas")
			}
			return nil
		})
		want := fill(c, 500)
		a := app(t, c, counting(t, "n"), func(cfg *runtime.Config) { cfg.OnFailure = runtime.RestartTasks })
		committed(t, c)
		if diff := cmp.Diff(want, folded(c, "app-n-changelog")); diff != "" {
			// What the failed lane sent has arrived all the same: read again it counts twice.
			for k, n := range folded(c, "app-n-changelog") {
				if n < want[k] {
					t.Errorf("counts (-want +got):\n%s", diff)
				}
			}
		}
		if a.Progress().Restarts != 1 {
			t.Errorf("%d restarts, want 1", a.Progress().Restarts)
		}
		if err := closeApp(a); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCloseEndsATaskThatWaitsForItsRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster(1)
		fill(c, 10)
		g := plan.NewGraph("app")
		g.Add(operator("op", func(plan.Env, entry) entry {
			return func(rec) error { return errors.New("always") }
		}), g.Add(source("in")))
		a := app(t, c, build(t, g), func(cfg *runtime.Config) { cfg.OnFailure = runtime.RestartTasks })
		time.Sleep(time.Hour)
		if n := a.Progress().Restarts; n < 100 || n > 130 {
			t.Errorf("%d restarts in an hour, want one each 30 s", n)
		}
		begin := time.Now()
		if err := closeApp(a); err != nil || time.Since(begin) > time.Second {
			t.Errorf("Close: %v after %v", err, time.Since(begin))
		}
	})
}

// On the real client: positions go back, and what was fetched ahead is not processed.
func TestTasksAreStartedAgainOnBrokers(t *testing.T) {
	onBrokers(t, func(t *testing.T, b target) {
		b.create(t, 4, "again-in", "again-out")
		want := b.fill(t, "again-in", 20_000)
		p := &process{b: b}
		a := p.start(t, failingCount(t, "again", "again-", 7000, 12_000), func(cfg *runtime.Config) {
			cfg.OnFailure = runtime.RestartTasks
		})
		waitFor(t, "two failures, and all committed", func() bool {
			got := a.Progress()
			for _, task := range got.Tasks {
				for _, in := range task.Inputs {
					if in.Committed != in.End {
						return false
					}
				}
			}
			return got.Restarts > 0 && got.State == runtime.Running && len(got.Tasks) == 4
		})
		if err := closeApp(a); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, b.outputs(t, "again-n-changelog")); diff != "" {
			t.Errorf("counts (-want +got):\n%s", diff)
		}
	})
}

func TestARecordThatIsTooLargeIsKnownBeforeItIsSent(t *testing.T) {
	for _, skip := range []bool{false, true} {
		c := linktest.New("cluster-1")
		c.Create("in", 1, nil)
		c.Create("out", 1, map[string]string{"max.message.bytes": "600"})
		for _, size := range []int{10, 590, 400} {
			c.Append("in", 0, plan.Raw{Key: []byte("k"), Value: []byte(strings.Repeat("x", size)), Timestamp: 1})
		}
		g := plan.NewGraph("app")
		g.Add(sink("out", false), g.Add(source("in")))
		a := app(t, c, build(t, g), func(cfg *runtime.Config) {
			if skip {
				cfg.Policies[plan.Producing].Action = plan.Skip
			}
		})
		if skip {
			committed(t, c)
			if n := len(c.Records(link.Partition{Topic: "out"})); n != 2 {
				t.Errorf("%d records were written, want 2", n)
			}
			continue
		}
		<-a.Done()
		if err := a.Err(); !errors.Is(err, plan.ErrTooLarge) || !strings.Contains(err.Error(), "offset 1 of in-0") {
			t.Errorf("the application ended with %v", err)
		}
	}
}
