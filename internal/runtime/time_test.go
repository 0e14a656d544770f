// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/internal/runtime/link/linktest"
)

// joined is a and b -> merge -> out.
func joined(t testing.TB, more ...func(plan.Env, entry) entry) *plan.Plan {
	g := plan.NewGraph("app")
	a, b := g.Add(source("a")), g.Add(source("b"))
	op := passOn
	if len(more) > 0 {
		op = more[0]
	}
	g.Add(sink("out", false), g.Add(operator("merge", op), a, b))
	return build(t, g)
}

func taskWith(t *testing.T, p *plan.Plan, out runtime.Outputs, with func(*runtime.TaskConfig)) *runtime.Task {
	t.Helper()
	cfg := runtime.TaskConfig{Sub: p.Subs[0], Partition: 2, Out: out}
	with(&cfg)
	task, err := runtime.NewTask(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// at makes records with the given times, named after them, from an offset on.
func at(name string, offset int64, times ...int64) []plan.Raw {
	var recs []plan.Raw
	for i, ts := range times {
		key := name + strconv.FormatInt(ts, 10)
		recs = append(recs, plan.Raw{Key: []byte(key), Value: []byte("v"), Timestamp: ts, Offset: offset + int64(i)})
	}
	return recs
}

func offer(t *testing.T, task *runtime.Task, topic string, recs []plan.Raw) {
	t.Helper()
	if err := task.Offer(topic, recs); err != nil {
		t.Fatal(err)
	}
}

// ran runs the task and returns what came out, without the topic.
func ran(t *testing.T, task *runtime.Task, out *outputs, now int64) string {
	t.Helper()
	out.got = nil
	for {
		n, err := task.Run(now, 512)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	s := strings.ReplaceAll(strings.Join(out.got, " "), "out ", "")
	return strings.ReplaceAll(s, "=v", "")
}

func TestRecordsOfSeveralInputsComeInTheOrderOfTime(t *testing.T) {
	tests := []struct {
		name    string
		maxIdle int64
		run     func(t *testing.T, task *runtime.Task, out *outputs)
	}{
		{"both have records", 0, func(t *testing.T, task *runtime.Task, out *outputs) {
			offer(t, task, "a", at("a", 0, 1, 5, 3, 9))
			offer(t, task, "b", at("b", 0, 2, 4, 8))
			task.Behind("b", true)
			if got, want := ran(t, task, out, 0), "a1 b2 b4 a5 a3 b8"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}},
		{"an input is waited for while the broker has more of it", 0, func(t *testing.T, task *runtime.Task, out *outputs) {
			offer(t, task, "a", at("a", 0, 10))
			task.Behind("b", true)
			if got := ran(t, task, out, 1e6); got != "" {
				t.Errorf("got %s while b is behind", got)
			}
			offer(t, task, "b", at("b", 0, 7))
			if got, want := ran(t, task, out, 1e6), "b7 a10"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}},
		{"and not when it has none", 0, func(t *testing.T, task *runtime.Task, out *outputs) {
			offer(t, task, "a", at("a", 0, 10))
			if got := ran(t, task, out, 0); got != "a10" {
				t.Errorf("got %s, want a10", got)
			}
		}},
		{"-1 waits for nothing", -1, func(t *testing.T, task *runtime.Task, out *outputs) {
			offer(t, task, "a", at("a", 0, 10))
			task.Behind("b", true)
			if got := ran(t, task, out, 0); got != "a10" {
				t.Errorf("got %s, want a10", got)
			}
		}},
		{"more than 0 waits that long for an input that had all", 50, func(t *testing.T, task *runtime.Task, out *outputs) {
			offer(t, task, "a", at("a", 0, 10))
			if got := ran(t, task, out, 1000); got != "" || task.NextRun() != 1050 {
				t.Errorf("got %q, the next run at %d, want none before 1050", got, task.NextRun())
			}
			if got := ran(t, task, out, 1049); got != "" {
				t.Errorf("got %s before the time is over", got)
			}
			if got := ran(t, task, out, 1050); got != "a10" {
				t.Errorf("got %q, want a10 when the time is over", got)
			}
			offer(t, task, "a", at("a", 1, 11))
			if got := ran(t, task, out, 1060); got != "a11" {
				t.Errorf("got %q, want a11: the wait is over until b has records again", got)
			}
			offer(t, task, "a", at("a", 2, 12))
			offer(t, task, "b", at("b", 0, 3))
			if got := ran(t, task, out, 1070); got != "b3" {
				t.Errorf("got %q, want b3 and a new wait", got)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := &outputs{}
			tt.run(t, taskWith(t, joined(t), out, func(c *runtime.TaskConfig) { c.MaxIdle = tt.maxIdle }), out)
		})
	}
}

func TestPunctuations(t *testing.T) {
	var cancel func()
	p := joined(t, func(env plan.Env, next entry) entry {
		n := &plan.Node{Op: "p", ID: 2}
		say := func(name string) func(int64) error {
			return func(at int64) error {
				return next(rec{key: name + strconv.FormatInt(at, 10), value: "v", time: max(env.StreamTime(), 0)})
			}
		}
		cancel = env.Schedule(n, plan.Schedule{Every: 10, Start: plan.NoTime}, say("S"))
		env.Schedule(n, plan.Schedule{Every: 20, Start: 3}, say("A"))
		env.Schedule(n, plan.Schedule{Wall: true, Every: 50, Start: plan.NoTime}, say("W"))
		return next
	})
	out := &outputs{}
	task := taskWith(t, p, out, func(c *runtime.TaskConfig) { c.Now = 1000 })
	steps := []struct {
		record int64 // or
		wall   int64
		want   string
	}{
		{record: 2, want: "a2 S2"},
		{record: 9, want: "a9 A9"},
		{record: 10, want: "a10 S10"},
		{record: 61, want: "a61 S61 A61"}, // once after a jump
		{record: 65, want: "a65 A65"},     // 63 is on the grid
		{record: 70, want: "a70 S70"},     // on the grid
		{wall: 1049, want: ""},
		{wall: 1050, want: "W1050"},
		{wall: 1175, want: "W1175"},
		{wall: 1199, want: ""},
		{wall: 1200, want: "W1200"},
	}
	for i, s := range steps {
		var got string
		if s.wall == 0 {
			offer(t, task, "a", at("a", int64(i), s.record))
			got = ran(t, task, out, 1000)
		} else {
			out.got = nil
			if _, err := task.Punctuate(s.wall); err != nil {
				t.Fatal(err)
			}
			got = strings.ReplaceAll(strings.ReplaceAll(strings.Join(out.got, " "), "out ", ""), "=v", "")
		}
		if got != s.want {
			t.Errorf("step %d: got %q, want %q", i, got, s.want)
		}
	}
	cancel()
	offer(t, task, "a", at("a", 20, 100))
	if got := ran(t, task, out, 2000); got != "a100 A100" {
		t.Errorf("after cancel: %q, want a100 A100", got)
	}
}

// What a task knows of time goes with the offsets, and a task that takes it up goes
// on as if there had been no end.
func TestTimesAreTakenUpFromWhatWasCommitted(t *testing.T) {
	observing := func(env plan.Env, next entry) entry {
		n := &plan.Node{Op: "w", Name: "window", ID: 2}
		seen := env.Observed(n)
		env.Schedule(n, plan.Schedule{Every: 10, Start: plan.NoTime}, func(at int64) error {
			return next(rec{key: fmt.Sprintf("S%d/%d", at, *seen), value: "v"})
		})
		return func(r rec) error {
			*seen = max(*seen, r.time)
			return nil
		}
	}
	whole, cut := &outputs{}, &outputs{}
	batches := [][]plan.Raw{at("a", 0, 4, 11), at("a", 2, 7, 15), at("a", 4, 19, 23), at("a", 6, 22, 41)}
	one := taskWith(t, joined(t, observing), whole, func(*runtime.TaskConfig) {})
	starts := map[string]runtime.Origin{}
	for _, b := range batches {
		if err := one.Process("a", b); err != nil {
			t.Fatal(err)
		}
		again := taskWith(t, joined(t, observing), cut, func(c *runtime.TaskConfig) { c.Start = starts })
		if err := again.Process("a", b); err != nil {
			t.Fatal(err)
		}
		sealed, err := again.Seal()
		if err != nil {
			t.Fatal(err)
		}
		starts = map[string]runtime.Origin{}
		for topic, pos := range sealed.Next {
			starts[topic] = runtime.Origin{Position: pos, Metadata: sealed.Metadata[topic]}
		}
	}
	if diff := cmp.Diff(whole.got, cut.got); diff != "" {
		t.Errorf("with restarts (-without +with):\n%s", diff)
	}
	if len(whole.got) != 4 {
		t.Errorf("%d punctuations, want 4: %v", len(whole.got), whole.got)
	}
	for _, foreign := range []string{"", "x", "AQAAAAAAAAAA", strings.Repeat("A", 5000), starts["a"].Metadata[:20]} {
		task := taskWith(t, joined(t), &outputs{}, func(c *runtime.TaskConfig) {
			c.Start = map[string]runtime.Origin{"a": {Position: runtime.Position{Offset: 3}, Metadata: foreign}}
		})
		if task.StreamTime() != runtime.NoTime || task.Position("a") != 3 {
			t.Errorf("metadata %q: stream time %d, position %d; want none and 3", foreign, task.StreamTime(), task.Position("a"))
		}
	}
}

func FuzzMetadata(f *testing.F) {
	task, err := runtime.NewTask(runtime.TaskConfig{Sub: joined(f).Subs[0], Out: &outputs{}})
	if err != nil {
		f.Fatal(err)
	}
	if err := task.Process("a", at("a", 0, 4)); err != nil {
		f.Fatal(err)
	}
	sealed, err := task.Seal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed.Metadata["a"])
	f.Add("TXIBAAAAAAAAAAAAAAAAAAAAAAAA")
	p := joined(f)
	f.Fuzz(func(t *testing.T, metadata string) {
		start := map[string]runtime.Origin{"a": {Metadata: metadata}}
		if _, err := runtime.NewTask(runtime.TaskConfig{Sub: p.Subs[0], Out: &outputs{}, Start: start}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestIdleInputsLetTimeGoOn(t *testing.T) {
	out := &outputs{}
	task := taskWith(t, joined(t), out, func(c *runtime.TaskConfig) {
		c.SourceIdleness, c.ConfirmEvery = 1000, 300
	})
	confirm := func(from, to int64, topics ...string) {
		t.Helper()
		for now := from; now <= to; now += 100 {
			for _, topic := range topics {
				if _, err := task.Confirm(now, topic); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	wants := func(what string, want int64) {
		t.Helper()
		if got := task.StreamTime(); got != want {
			t.Fatalf("%s: stream time %d, want %d", what, got, want)
		}
	}
	confirm(1_000_000, 1_002_000, "a", "b")
	wants("before the first record", runtime.NoTime)
	offer(t, task, "a", at("a", 0, 50))
	ran(t, task, out, 1_002_000)
	confirm(1_002_000, 1_003_900, "a")
	confirm(1_003_000, 1_003_900, "b")
	wants("b is idle for 900 ms: since before, but not confirmed all the while", 50)
	confirm(1_004_000, 1_004_000, "b")
	confirm(1_004_000, 1_004_000, "a")
	wants("both are idle for 1000 ms", 50+1000)
	confirm(1_004_100, 1_004_500, "a", "b")
	wants("and longer", 50+1500)
	confirm(1_604_500, 1_605_400, "a", "b") // ten minutes without an answer
	wants("after an outage that nobody told of", 50+1500)
	confirm(1_605_500, 1_605_500, "a", "b")
	wants("idle anew", 50+1500+1000)
	task.Doubt("a")
	confirm(1_605_600, 1_606_500, "a", "b")
	wants("after a doubt", 50+1500+1000)
	offer(t, task, "b", at("b", 0, 60))
	ran(t, task, out, 1_606_500)
	confirm(1_606_600, 1_607_500, "a", "b")
	wants("a record ends the idle time", 50+1500+1000)
}

// An hour of virtual time: ten minutes without a broker are no idle time.
func TestAnOutageClosesNoWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := linktest.New("cluster-1")
		c.Create("a", 1, nil)
		c.Create("b", 1, nil)
		c.Create("out", 1, nil)
		var stream atomic.Int64
		p := joined(t, func(env plan.Env, next entry) entry {
			env.AtTime(&plan.Node{Op: "w", ID: 2}, func(at int64) error { stream.Store(at); return nil })
			return next
		})
		a := app(t, c, p, func(cfg *runtime.Config) { cfg.SourceIdleness = time.Minute })
		c.Append("a", 0, plan.Raw{Key: []byte("k"), Timestamp: 1_000_000})
		c.Append("b", 0, plan.Raw{Key: []byte("k"), Timestamp: 1_000_000})
		c.Skip(link.Partition{Topic: "b"}, 3) // the marker of a transaction, say
		time.Sleep(55 * time.Second)
		synctest.Wait()
		if stream.Load() != 0 {
			t.Fatalf("time went on to %d within a minute", stream.Load())
		}
		c.Away(true)
		time.Sleep(10 * time.Minute)
		c.Away(false)
		time.Sleep(55 * time.Second)
		synctest.Wait()
		if stream.Load() != 0 {
			t.Fatalf("the outage let time go on to %d", stream.Load())
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if elapsed := stream.Load() - 1_000_000; elapsed < 60_000 || elapsed > 66_000 {
			t.Errorf("time went on by %d ms, want a little more than a minute", elapsed)
		}
		if err := closeApp(a); err != nil {
			t.Fatal(err)
		}
	})
}

// Markers and what compaction left out look like records that are still to come.
func TestATaskDoesNotWaitForAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := linktest.New("cluster-1")
		c.Create("a", 1, nil)
		c.Create("b", 1, nil)
		c.Create("out", 1, nil)
		c.Skip(link.Partition{Topic: "b"}, 5)
		for i := range 3 {
			c.Append("a", 0, plan.Raw{Key: []byte{byte(i)}, Timestamp: int64(i)})
		}
		a := app(t, c, joined(t))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := len(c.Records(link.Partition{Topic: "out"})); n != 3 {
			t.Errorf("%d records came out, want 3", n)
		}
		if err := closeApp(a); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAppOrdersItsInputsAndRestoresTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := linktest.New("cluster-1")
		c.Create("a", 1, nil)
		c.Create("b", 1, nil)
		c.Create("out", 1, nil)
		const n = 1000
		for i := range int64(n) {
			c.Append("a", 0, plan.Raw{Key: []byte("a"), Value: []byte("v"), Timestamp: 2 * i})
			c.Append("b", 0, plan.Raw{Key: []byte("b"), Value: []byte("v"), Timestamp: 2*i + 1})
		}
		first := app(t, c, joined(t), func(cfg *runtime.Config) { cfg.QueueBytes = 100 })
		until(t, "all processed", func() bool { return first.Progress().Records == 2*n })
		if err := closeApp(first); err != nil {
			t.Fatal(err)
		}
		for i, r := range c.Records(link.Partition{Topic: "out"}) {
			if r.Timestamp != int64(i) {
				t.Fatalf("record %d has time %d: the inputs are not in order", i, r.Timestamp)
			}
		}
		var stream atomic.Int64
		p := joined(t, func(env plan.Env, next entry) entry {
			return func(r rec) error { stream.Store(env.StreamTime()); return next(r) }
		})
		second := app(t, c, p)
		c.Append("a", 0, plan.Raw{Key: []byte("a"), Timestamp: 5})
		until(t, "the late record", func() bool { return second.Progress().Records == 1 })
		synctest.Wait()
		if stream.Load() != 2*n-1 {
			t.Errorf("stream time after a restart is %d, want %d", stream.Load(), 2*n-1)
		}
		if err := closeApp(second); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAPanicInAPunctuationMeetsThePolicy(t *testing.T) {
	boom := errors.New("boom")
	calls := 0
	p := joined(t, func(env plan.Env, next entry) entry {
		env.Schedule(&plan.Node{Op: "p", ID: 2}, plan.Schedule{Every: 10, Start: plan.NoTime}, func(int64) error {
			if calls++; calls == 2 {
				panic(boom)
			}
			return nil
		})
		return next
	})
	var told *runtime.RecordError
	task := taskWith(t, p, &outputs{}, func(c *runtime.TaskConfig) {
		c.Policies[plan.Processing].Action = plan.Skip
		c.Report = func(e *runtime.RecordError) { told = e }
	})
	if err := task.Process("a", at("a", 0, 1, 12, 23)); err != nil {
		t.Fatal(err)
	}
	if calls != 3 || !errors.Is(told, boom) {
		t.Errorf("%d calls, told %v; want 3 and boom", calls, told)
	}
}

func TestTimesAreTakenUpFromBrokers(t *testing.T) {
	onBrokers(t, func(t *testing.T, b target) {
		b.create(t, 1, "times-in", "times-out")
		var first, observed atomic.Int64 // as a task finds them with its first record
		topology := func() *plan.Plan {
			g := plan.NewGraph("times")
			g.Add(operator("see", func(env plan.Env, next entry) entry {
				seen := env.Observed(&plan.Node{Name: "see"})
				return func(r rec) error {
					first.CompareAndSwap(0, env.StreamTime())
					observed.CompareAndSwap(0, *seen)
					*seen = max(*seen, r.time)
					return nil
				}
			}), g.Add(source("times-in")))
			return build(t, g)
		}
		cl := b.client(t, kgo.DefaultProduceTopic("times-in"))
		for _, ts := range []int64{7_000_000, 5_000_000} {
			first.Store(0)
			observed.Store(0)
			r := &kgo.Record{Key: []byte("k"), Value: []byte("v"), Timestamp: time.UnixMilli(ts)}
			if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
			a := (&process{b: b}).start(t, topology())
			waitFor(t, "the record", func() bool { return a.Progress().Records == 1 })
			if err := closeApp(a); err != nil {
				t.Fatal(err)
			}
		}
		if first.Load() != 7_000_000 || observed.Load() != 7_000_000 {
			t.Errorf("stream time %d, observed %d with a late record after a restart; want 7000000", first.Load(), observed.Load())
		}
	})
}
