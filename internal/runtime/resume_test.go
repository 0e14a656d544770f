// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/agg"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/internal/runtime/link/linktest"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topic"
	"github.com/millrace/millrace/window"
)

// windowedCases are topologies from topic "in" (two strings) to topic "out", whose
// results must not depend on crashes. What is read again must change nothing that
// was taken already: results are sets.
var windowedCases = map[string]func(t *processor.Topology, in *kstream.KStream[string, string]){
	"tumbling, on update": timeCase(window.Tumbling(100*time.Millisecond), window.OnUpdate),
	"tumbling, on commit": timeCase(window.Tumbling(100*time.Millisecond), window.OnCommit),
	"tumbling, on close":  timeCase(window.Tumbling(100*time.Millisecond), window.OnClose),
	"hopping, on update":  timeCase(window.Hopping(100*time.Millisecond, 40*time.Millisecond), window.OnUpdate),
	"hopping, on commit":  timeCase(window.Hopping(100*time.Millisecond, 40*time.Millisecond), window.OnCommit),
	"hopping, on close":   timeCase(window.Hopping(100*time.Millisecond, 40*time.Millisecond), window.OnClose),
	"session, on update":  sessionCase(window.OnUpdate),
	"session, on commit":  sessionCase(window.OnCommit),
	"session, on close":   sessionCase(window.OnClose),
	"inner join":          joinCase(innerJoin),
	"left join":           joinCase(leftJoin),
	"outer join":          joinCase(outerJoin),
	"list":                listCase,
}

// joinCase joins what has an even number with what has an odd one; each pair is a key.
func joinCase(join func(l, r *kstream.KStream[string, string], w window.JoinSpec) *kstream.KStream[string, string]) func(*processor.Topology, *kstream.KStream[string, string]) {
	return func(_ *processor.Topology, in *kstream.KStream[string, string]) {
		odd := func(v string) bool { return v[len(v)-1]%2 == 1 }
		left := in.Filter(func(_, v string) bool { return !odd(v) })
		right := in.Filter(func(_, v string) bool { return odd(v) })
		join(left, right, window.Within(100*time.Millisecond).Grace(50*time.Millisecond)).
			SelectKey(func(_, v string) string { return v }).To(topic.Of[string, string]("out"))
	}
}

func innerJoin(l, r *kstream.KStream[string, string], w window.JoinSpec) *kstream.KStream[string, string] {
	return l.Join("st", r, w, func(a, b string) string { return a + " " + b })
}

func leftJoin(l, r *kstream.KStream[string, string], w window.JoinSpec) *kstream.KStream[string, string] {
	return l.LeftJoin("st", r, w, func(a string, b opt.V[string]) string { return a + " " + b.Value })
}

func outerJoin(l, r *kstream.KStream[string, string], w window.JoinSpec) *kstream.KStream[string, string] {
	return l.OuterJoin("st", r, w, func(a, b opt.V[string]) string { return a.Value + " " + b.Value })
}

func timeCase(w window.TimeSpec, mode window.EmitMode) func(*processor.Topology, *kstream.KStream[string, string]) {
	return func(_ *processor.Topology, in *kstream.KStream[string, string]) {
		table := in.GroupByKey().Windowed(w.Grace(50*time.Millisecond)).Emit(mode).Aggregate("st", sets(), retained(mode)...)
		table.To(topic.Of[window.Key[string], string]("out").Keys(window.TimeKey(topic.Of[string, string]("in").KeySerde(), w.Size())))
	}
}

func sessionCase(mode window.EmitMode) func(*processor.Topology, *kstream.KStream[string, string]) {
	return func(_ *processor.Topology, in *kstream.KStream[string, string]) {
		table := in.GroupByKey().Sessions(window.Session(60*time.Millisecond).Grace(50*time.Millisecond)).Emit(mode).Aggregate("st", sets(), retained(mode)...)
		table.To(topic.Of[window.SessionKey[string], string]("out").Keys(window.SessionKeys(topic.Of[string, string]("in").KeySerde())))
	}
}

// retained is the least that a store can keep, but where closed windows are still to
// be found when a record comes that is far ahead.
func retained(mode window.EmitMode) []ktable.Option {
	if mode == window.OnClose {
		return []ktable.Option{ktable.Retention(700 * time.Millisecond)}
	}
	return nil
}

// sets gathers values, each once, in order.
func sets() agg.Mergeable[string, string] {
	union := func(a, b string) string {
		all := append(strings.Fields(a), strings.Fields(b)...)
		slices.Sort(all)
		return strings.Join(slices.Compact(all), " ")
	}
	return agg.Of(func() string { return "" }, union).Merge(union)
}

const (
	resumeRounds = 3
	resumeRecs   = 10
)

// resumeRun runs a case with a crash at the nth step, and gives the steps of the first
// process and the last result of each key. Each round brings more than a window and
// its grace, out of order, so that its first records are late for a clock that has
// seen its last.
func resumeRun(t *testing.T, build func(*processor.Topology, *kstream.KStream[string, string]), n int, keep bool) ([]string, map[string]string) {
	t.Helper()
	c, d := cluster(1), newDisk("")
	k := &crasher{c: c, d: d, at: n, lose: !keep}
	k.arm()
	with := func(cfg *runtime.Config) {
		cfg.Stores, cfg.Workers = d, 1
		cfg.StoreOptions = state.Options{ApplyBytes: 1}
		cfg.BaseLagTime, cfg.CommitInterval = 1500*time.Millisecond, 100*time.Millisecond
	}
	top := processor.NewTopology("app")
	build(top, kstream.From(top, topic.Of[string, string]("in")))
	p, err := top.Graph().Build()
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	at, id := int64(1000), 0
	round := func() {
		for range resumeRecs {
			at, id = at+90, id+1
			c.Append("in", 0, plan.Raw{
				Key: []byte{byte('a' + rnd.IntN(2))}, Value: fmt.Appendf(nil, "%03d", id), Timestamp: at - rnd.Int64N(200),
			})
		}
		time.Sleep(time.Second)
	}
	a := app(t, c, p, with)
	for range resumeRounds {
		round()
	}
	_ = closeApp(a) // the answer of a process that may have died
	steps := k.seen
	c.Fault(nil)
	d.recover(keep)
	b := app(t, c, p, with)
	round()
	if err := closeApp(b); err != nil {
		t.Fatalf("second run: %v", err)
	}
	return steps, lastResults(c)
}

// lastResults are the last values of the keys in topic "out".
func lastResults(c *linktest.Cluster) map[string]string {
	results := map[string]string{}
	for _, r := range c.Records(link.Partition{Topic: "out"}) {
		if r.Value == nil {
			delete(results, string(r.Key))
		} else {
			results[string(r.Key)] = string(r.Value)
		}
	}
	return results
}

func TestACrashChangesNoResultOfAWindow(t *testing.T) {
	for name, build := range windowedCases {
		t.Run(name, func(t *testing.T) {
			var steps []string
			var want map[string]string
			synctest.Test(t, func(t *testing.T) { steps, want = resumeRun(t, build, 0, false) })
			if len(want) < 2 {
				t.Fatalf("%d results: too few to tell anything", len(want))
			}
			stride := 1
			if testing.Short() {
				stride = 5
			}
			for n := 1; n <= len(steps); n += stride {
				for _, keep := range []bool{false, true} {
					synctest.Test(t, func(t *testing.T) {
						_, got := resumeRun(t, build, n, keep)
						if diff := cmp.Diff(want, got); diff != "" {
							t.Errorf("crash at step %d (%s), keep=%v (-without +with):\n%s", n, steps[n-1], keep, diff)
						}
					})
				}
			}
		})
	}
}
