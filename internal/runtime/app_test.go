// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

func TestAppCountsAndGoesOnAfterARestart(t *testing.T) {
	c := cluster(4)
	fill(c, 1000)
	var states []runtime.State
	var mu sync.Mutex
	first := app(t, c, counting(t, "n"), func(cfg *runtime.Config) {
		cfg.Listener = func(s runtime.State) { mu.Lock(); states = append(states, s); mu.Unlock() }
	})
	committed(t, c)
	if p := first.Progress(); p.Records != 1000 || p.Lag() != 0 || len(p.Tasks) != 4 {
		t.Errorf("progress: %d records, lag %d, %d tasks; want 1000, 0, 4", p.Records, p.Lag(), len(p.Tasks))
	}
	if err := closeApp(first); err != nil {
		t.Fatal(err)
	}
	want := fill(c, 500)
	for k := range want {
		want[k] += 100
	}
	second := app(t, c, counting(t, "n"))
	committed(t, c)
	if err := closeApp(second); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, folded(c, "app-n-changelog")); diff != "" {
		t.Errorf("changelog (-want +got):\n%s", diff)
	}
	if n := len(c.Records(link.Partition{Topic: "out"})); n != 1500 {
		t.Errorf("%d outputs, want 1500", n)
	}
	mu.Lock()
	defer mu.Unlock()
	if last := states[len(states)-2:]; !slices.Equal(last, []runtime.State{runtime.Closing, runtime.Closed}) || !slices.Contains(states, runtime.Running) {
		t.Errorf("states %v do not lead through running to closing, closed", states)
	}
}

func TestAppSharesTasksAndMovesThemWithoutLoss(t *testing.T) {
	c := cluster(4)
	fill(c, 400)
	first := app(t, c, counting(t, "n"))
	committed(t, c)
	second := app(t, c, counting(t, "n"))
	until(t, "two tasks each", func() bool {
		a, b := first.Progress(), second.Progress()
		return len(a.Tasks) == 2 && len(b.Tasks) == 2 && a.State == runtime.Running && b.State == runtime.Running
	})
	for _, task := range first.Progress().Tasks {
		if task.Records == 0 {
			t.Errorf("task %s, which stayed, has begun anew", task.ID)
		}
	}
	want := fill(c, 400)
	committed(t, c)
	if err := closeApp(first); err != nil {
		t.Fatal(err)
	}
	fill(c, 400)
	committed(t, c)
	if err := closeApp(second); err != nil {
		t.Fatal(err)
	}
	for k := range want {
		want[k] *= 3
	}
	if diff := cmp.Diff(want, folded(c, "app-n-changelog")); diff != "" {
		t.Errorf("changelog (-want +got):\n%s", diff)
	}
}

func TestAppGoesOnFromTheLastCommitWhenPartitionsAreLost(t *testing.T) {
	c := cluster(2)
	fill(c, 200)
	a := app(t, c, counting(t, "n"))
	committed(t, c)
	c.Hold(true) // what comes now is processed, not committed
	want := fill(c, 200)
	until(t, "all processed", func() bool { return a.Progress().Records == 400 })
	c.Evict("app")
	c.Hold(false)
	committed(t, c)
	if err := closeApp(a); err != nil {
		t.Fatal(err)
	}
	got := folded(c, "app-n-changelog")
	for k, n := range want {
		if got[k] < 2*n || got[k] > 3*n {
			t.Errorf("count of %s is %d, want %d and at most %d more", k, got[k], 2*n, n)
		}
	}
}

func TestATaskThatComesBackWaitsUntilItsStoresAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, d := cluster(1), newDisk("")
		d.closes = make(chan struct{})
		a := app(t, c, counting(t, "n"), onDisk(d))
		want := fill(c, 100)
		time.Sleep(time.Second)
		c.Evict("app")
		time.Sleep(time.Second)
		if s := a.State(); s != runtime.Rebalancing {
			t.Errorf("state %v while the stores are being closed, want rebalancing", s)
		}
		close(d.closes)
		time.Sleep(time.Second)
		if s := a.State(); s != runtime.Running {
			t.Errorf("state %v, error %v, want running", s, a.Err())
		}
		if diff := cmp.Diff(want, folded(c, "app-n-changelog")); diff != "" {
			t.Errorf("changelog (-want +got):\n%s", diff)
		}
	})
}

func TestAppFailsAtARecordThatCannotBeDecoded(t *testing.T) {
	c := cluster(1)
	fill(c, 5)
	a := app(t, c, counting(t, "n"))
	committed(t, c)
	fill(c, 3)
	c.Append("in", 0, plan.Raw{Key: []byte("k"), Value: []byte("garbage")})
	<-a.Done()
	re, ok := errors.AsType[*runtime.RecordError](a.Err())
	if !ok || re.Topic != "in" || re.Partition != 0 || re.Offset != 8 {
		t.Fatalf("error %v does not name in-0 at offset 8", a.Err())
	}
	if a.State() != runtime.Failed {
		t.Errorf("state %v, want failed", a.State())
	}
	if off := c.Committed("app", link.Partition{Topic: "in"}); off > 8 {
		t.Errorf("offset %d is committed, beyond the record that failed", off)
	}
	if err := closeApp(a); !errors.Is(err, a.Err()) {
		t.Errorf("Close answers %v, want the failure", err)
	}
}

// gate is an operator that lets nothing pass until it is opened.
type gate struct {
	open   chan struct{}
	passed atomic.Int64
}

func (g *gate) plan(t *testing.T) *plan.Plan {
	gr := plan.NewGraph("app")
	in := gr.Add(source("in"))
	gr.Add(operator("gate", func(_ plan.Env, next entry) entry {
		return func(r rec) error {
			<-g.open
			g.passed.Add(1)
			return next(r)
		}
	}), in)
	return build(t, gr)
}

func TestAppPausesInputsThatAreFull(t *testing.T) {
	c := cluster(1)
	fill(c, 1000)
	g := &gate{open: make(chan struct{})}
	app(t, c, g.plan(t), func(cfg *runtime.Config) { cfg.QueueBytes = 500 })
	in := link.Partition{Topic: "in"}
	until(t, "input running", func() bool { return c.Fetched("app", in) > 0 })
	until(t, "input paused", func() bool { return slices.Contains(c.Paused("app"), in) })
	if n := c.Fetched("app", in); n >= 1000 {
		t.Errorf("%d records were fetched while none was processed", n)
	}
	close(g.open)
	until(t, "all processed", func() bool { return g.passed.Load() == 1000 })
	until(t, "input flows", func() bool { return len(c.Paused("app")) == 0 })
}

func TestCloseReturnsInItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster(1)
		a := app(t, c, counting(t, "n"))
		time.Sleep(time.Second)
		c.Hold(true)
		fill(c, 100)
		time.Sleep(time.Second)
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if err := a.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close answers %v, want that the deadline was exceeded", err)
		}
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("Close took %s, with a bound of 3 s", took)
		}
		if off := c.Committed("app", link.Partition{Topic: "in"}); off != -1 {
			t.Errorf("offset %d is committed though nothing was acknowledged", off)
		}
	})
}

func TestEndOfStartsContextClosesTheApp(t *testing.T) {
	c := cluster(1)
	want := fill(c, 50)
	ctx, cancel := context.WithCancel(t.Context())
	a, err := runtime.Start(ctx, counting(t, "n"), runtime.Config{Connect: c.Connect, CommitInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "all processed", func() bool { return a.Progress().Records == 50 })
	cancel()
	<-a.Done()
	if diff := cmp.Diff(want, folded(c, "app-n-changelog")); diff != "" || a.Err() != nil {
		t.Errorf("error %v, changelog (-want +got):\n%s", a.Err(), diff)
	}
}

func TestAppWaitsForABrokerThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster(2)
		c.Away(true)
		var log logBuffer
		a := app(t, c, counting(t, "n"), log.into)
		time.Sleep(10 * time.Minute)
		if s := a.State(); s != runtime.WaitingForBroker {
			t.Errorf("state %v at the start, want waiting for the broker", s)
		}
		c.Away(false)
		want := fill(c, 100)
		time.Sleep(time.Second)
		if s := a.State(); s != runtime.Running {
			t.Errorf("state %v, want running", s)
		}
		c.Away(true)
		time.Sleep(10 * time.Minute)
		if s := a.State(); s != runtime.WaitingForBroker {
			t.Errorf("state %v later, want waiting for the broker", s)
		}
		c.Away(false)
		fill(c, 100)
		time.Sleep(time.Second)
		if err := closeApp(a); err != nil {
			t.Fatal(err)
		}
		for k := range want {
			want[k] *= 2
		}
		if diff := cmp.Diff(want, folded(c, "app-n-changelog")); diff != "" {
			t.Errorf("changelog (-want +got):\n%s", diff)
		}
		if n, m := log.count("waiting for one"), log.count("the broker is back"); n != 2 || m != 2 {
			t.Errorf("logged %d times that it waits and %d times that it is back, want 2 each", n, m)
		}
	})
}

func TestASecondProcessOnADataDirectoryIsRefused(t *testing.T) {
	c, dir := cluster(1), t.TempDir()
	first := app(t, c, counting(t, "n"), onDisk(newDisk(dir)))
	_, err := runtime.Start(t.Context(), counting(t, "n"), runtime.Config{Connect: c.Connect, Stores: newDisk(dir)})
	if !errors.Is(err, runtime.ErrInUse) {
		t.Fatalf("second start: %v, want ErrInUse", err)
	}
	id, err := os.ReadFile(filepath.Join(dir, "app.instance"))
	if err != nil {
		t.Fatal(err)
	}
	if err := closeApp(first); err != nil {
		t.Fatal(err)
	}
	app(t, c, counting(t, "n"), onDisk(newDisk(dir)))
	if again, err := os.ReadFile(filepath.Join(dir, "app.instance")); err != nil || string(again) != string(id) {
		t.Errorf("instance id %q, then %q (%v)", id, again, err)
	}
}

func onDisk(d *disk) func(*runtime.Config) { return func(cfg *runtime.Config) { cfg.Stores = d } }

func TestStateOfAnotherClusterIsLeftAside(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "cluster-0", "app", "in-0"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := cluster(1)
	want := fill(c, 20)
	var log logBuffer
	a := app(t, c, counting(t, "n"), log.into, onDisk(newDisk(dir)))
	committed(t, c)
	if err := closeApp(a); err != nil {
		t.Fatal(err)
	}
	if log.count("under another cluster id is left aside") != 1 || log.count("cluster-0") != 1 {
		t.Error("the state of another cluster is not told of in one line")
	}
	if diff := cmp.Diff(want, folded(c, "app-n-changelog")); diff != "" {
		t.Errorf("changelog (-want +got):\n%s", diff)
	}
}

// rekeyed is in -> re -> repartition topic -> count.
func rekeyed(t *testing.T) *plan.Plan {
	g := plan.NewGraph("app")
	g.Add(sink("app-re-repartition", true), g.Add(source("in")))
	again := source("app-re-repartition")
	again.Internal = true
	s := g.AddStore(countStore("n"))
	g.Add(sink("out", false), g.Add(operator("count", count("n"), s), g.Add(again)))
	return build(t, g)
}

func TestInternalTopicsAreMadeAndPurged(t *testing.T) {
	c := cluster(4)
	want := fill(c, 1000)
	a := app(t, c, rekeyed(t), func(cfg *runtime.Config) { cfg.PurgeInterval = 10 * time.Millisecond })
	re := "app-re-repartition"
	until(t, "repartition topic purged", func() bool {
		info, _ := c.Topic(re)
		var purged int64
		for n := range info.Partitions {
			purged += c.Start(link.Partition{Topic: re, Num: n})
		}
		return purged > 0
	})
	until(t, "all counted", func() bool { return len(c.Records(link.Partition{Topic: "out"})) == 1000 })
	if err := closeApp(a); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, folded(c, "app-n-changelog")); diff != "" {
		t.Errorf("changelog (-want +got):\n%s", diff)
	}
	for name, policy := range map[string]string{re: "delete", "app-n-changelog": "compact"} {
		info, configs := c.Topic(name)
		if info.Partitions != 4 || configs["cleanup.policy"] != policy {
			t.Errorf("%s has %d partitions and policy %q, want 4 and %q", name, info.Partitions, configs["cleanup.policy"], policy)
		}
	}
}

func TestTopicsThatDoNotFitAreRefused(t *testing.T) {
	tests := []struct {
		name   string
		topics func(c *linktest.Cluster)
		want   string
		fatal  bool
	}{
		{"a source that is missing", func(*linktest.Cluster) {}, `topic "in" does not exist: it is a source topic`, true},
		{
			"a changelog of another size",
			func(c *linktest.Cluster) { c.Create("in", 4, nil); c.Create("app-n-changelog", 3, nil) },
			`topic "app-n-changelog" has 3 partitions, not 4`, true,
		},
		{
			"a changelog that forgets",
			func(c *linktest.Cluster) {
				c.Create("in", 4, nil)
				c.Create("app-n-changelog", 4, map[string]string{"cleanup.policy": "delete"})
			},
			`topic "app-n-changelog" has cleanup.policy=delete`, true,
		},
		{
			"a changelog without times of its own",
			func(c *linktest.Cluster) {
				c.Create("in", 4, nil)
				c.Create("app-n-changelog", 4, map[string]string{"message.timestamp.type": "LogAppendTime"})
			},
			`event times would be lost`, true,
		},
		{
			"a changelog that refuses the future",
			func(c *linktest.Cluster) {
				c.Create("in", 4, nil)
				c.Create("app-n-changelog", 4, map[string]string{"message.timestamp.after.max.ms": "3600000"})
			},
			`message.timestamp.after.max.ms=3600000`, false,
		},
		{
			"a changelog that is still to be made",
			func(c *linktest.Cluster) { c.Create("in", 4, nil) },
			`topic "app-n-changelog" does not exist: it is created with 4 partitions`, false,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := linktest.New("c")
			tt.topics(c)
			p := counting(t, "n")
			findings, err := runtime.Preflight(t.Context(), p, runtime.Config{Connect: c.Connect})
			if err != nil {
				t.Fatal(err)
			}
			if len(findings) != 1 || findings[0].Fatal != tt.fatal || !strings.Contains(findings[0].String(), tt.want) {
				t.Errorf("Preflight found %v, want %q, fatal %v", findings, tt.want, tt.fatal)
			}
			if !tt.fatal {
				return
			}
			a := app(t, c, p)
			<-a.Done()
			if err := a.Err(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v does not contain %q", err, tt.want)
			}
		})
	}
}

func TestTopicsWhoseRecordsMeetHaveAsManyPartitions(t *testing.T) {
	meeting := func(internal string) *plan.Plan {
		g := plan.NewGraph("app")
		st := g.AddStore(countStore("n"))
		from := g.Add(source("a"))
		if internal != "" {
			g.Add(sink(internal, true), from)
			from = source(internal)
			from.Internal = true
			g.Add(from)
		}
		g.Add(operator("join", passOn, st), from, g.Add(source("b")))
		return build(t, g)
	}
	c := linktest.New("c")
	c.Create("a", 4, nil)
	c.Create("b", 6, nil)
	cfg := runtime.Config{Connect: c.Connect}
	findings, err := runtime.Preflight(t.Context(), meeting(""), cfg)
	if err != nil || len(findings) == 0 || !findings[0].Fatal || !strings.Contains(findings[0].String(), `has 6 partitions and topic "a"`) {
		t.Errorf("found %v, %v; want that a and b do not fit", findings, err)
	}
	findings, err = runtime.Preflight(t.Context(), meeting("app-r-repartition"), cfg)
	want := `topic "app-r-repartition" does not exist: it is created with 6 partitions`
	if err != nil || len(findings) != 2 || findings[0].Fatal || !strings.Contains(findings[0].String(), want) {
		t.Errorf("found %v, %v; want a repartition topic with the partitions of what it meets", findings, err)
	}
}
