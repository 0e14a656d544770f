// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/internal/runtime/link/linktest"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// lookingUp is in -> look up in a global table of topic "g" -> out.
func lookingUp(t testing.TB) *plan.Plan {
	t.Helper()
	g := plan.NewGraph("app")
	def := g.AddStore(&plan.Store{Name: "gst", Site: "test:5", Open: func(b state.Base, o state.Options) state.Store {
		return state.OpenKeyValue("gst", serde.String, serde.String, b, o)
	}})
	rows := source("g")
	rows.Global = true
	g.Add(operator("global-table", func(env plan.Env, _ entry) entry {
		s := env.Store("gst").(*state.KeyValueStore[string, string])
		return func(r rec) error { return s.Put(r.key, r.value, r.time) }
	}, def), g.Add(rows))
	look := g.Add(operator("look-up", func(env plan.Env, next entry) entry {
		view := env.Global("gst").(*state.KeyValueStore[string, string]).Committed()
		return func(r rec) error {
			v, _, ok, err := view.Get(r.key)
			if err != nil {
				return err
			}
			if !ok {
				v = "none"
			}
			return next(rec{r.key, v, r.time})
		}
	}), g.Add(source("in")))
	g.Add(sink("out", false), look)
	return build(t, g)
}

// globalCluster has 100 rows in topic g, in 3 partitions.
func globalCluster() *linktest.Cluster {
	c := cluster(2)
	c.Create("g", 3, nil)
	for i := range 100 {
		setRow(c, "k"+strconv.Itoa(i), "v"+strconv.Itoa(i))
	}
	return c
}

func setRow(c *linktest.Cluster, key, value string) {
	c.Append("g", link.AnyPartition, plan.Raw{Key: []byte(key), Value: []byte(value), Timestamp: 1})
}

// ask sends keys through the application and waits for the rows that come out.
func ask(t *testing.T, c *linktest.Cluster, keys ...string) map[string]string {
	t.Helper()
	out := link.Partition{Topic: "out", Num: 0}
	before := len(c.Records(out))
	for _, k := range keys {
		c.Append("in", link.AnyPartition, plan.Raw{Key: []byte(k), Value: []byte("?"), Timestamp: 2})
	}
	until(t, "answers", func() bool { return len(c.Records(out)) == before+len(keys) })
	got := map[string]string{}
	for _, r := range c.Records(out)[before:] {
		got[string(r.Key)] = string(r.Value)
	}
	return got
}

// The first record meets all that was in the topic before: tasks begin when it is read.
func TestTasksBeginWhenGlobalTablesAreUpToDate(t *testing.T) {
	c := globalCluster()
	var keys []string
	for i := range 100 {
		keys = append(keys, "k"+strconv.Itoa(i))
		c.Append("in", link.AnyPartition, plan.Raw{Key: []byte(keys[i]), Value: []byte("?"), Timestamp: 2})
	}
	a := app(t, c, lookingUp(t))
	out := link.Partition{Topic: "out", Num: 0}
	until(t, "answers", func() bool { return len(c.Records(out)) == len(keys) })
	for _, r := range c.Records(out) {
		if want := strings.Replace(string(r.Key), "k", "v", 1); string(r.Value) != want {
			t.Errorf("row of %s is %s, want %s", r.Key, r.Value, want)
		}
	}
	globals := a.Progress().Globals
	if len(globals) != 3 {
		t.Fatalf("%d partitions of global tables, want 3", len(globals))
	}
	for _, in := range globals {
		if in.Lag() != 0 || in.Position == 0 {
			t.Errorf("%s-%d: position %d, end %d", in.Topic, in.Partition, in.Position, in.End)
		}
	}
}

func TestGlobalTablesFollowTheirTopic(t *testing.T) {
	c := globalCluster()
	app(t, c, lookingUp(t))
	setRow(c, "k7", "new")
	setRow(c, "k200", "newer")
	until(t, "the new rows", func() bool {
		got := ask(t, c, "k7", "k200")
		return got["k7"] == "new" && got["k200"] == "newer"
	})
}

// A second process takes up the stores of the first, after a close and after a crash,
// and reads only what came since.
func TestGlobalTablesAreTakenUp(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run("crash="+strconv.FormatBool(crash), func(t *testing.T) {
			c, d := globalCluster(), newDisk(t.TempDir())
			with := func(cfg *runtime.Config) { cfg.Stores = d }
			a := app(t, c, lookingUp(t), with)
			if got := ask(t, c, "k1"); got["k1"] != "v1" {
				t.Fatalf("row is %v", got)
			}
			if crash {
				d.crash()
			}
			if err := closeApp(a); err != nil && !crash {
				t.Fatal(err)
			}
			if crash {
				d.recover(true)
			}
			setRow(c, "k1", "later")
			var mu sync.Mutex
			read := map[link.Partition]bool{}
			c.Fault(func(step string, p link.Partition) error {
				mu.Lock()
				defer mu.Unlock()
				if step == "read" && p.Topic == "g" {
					read[p] = true
				}
				return nil
			})
			app(t, c, lookingUp(t), with)
			got := ask(t, c, "k1", "k2", "k99")
			if got["k1"] != "later" || got["k2"] != "v2" || got["k99"] != "v99" {
				t.Errorf("rows are %v", got)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(read) != 1 {
				t.Errorf("%d partitions were read, want that of the new record alone", len(read))
			}
		})
	}
}

// A topic that has lost records is read from its start: what is not in it is no row.
func TestAGlobalTableIsReadAgainWhereItsTopicWasCut(t *testing.T) {
	c, d := globalCluster(), newDisk(t.TempDir())
	with := func(cfg *runtime.Config) { cfg.Stores = d }
	a := app(t, c, lookingUp(t), with)
	ask(t, c, "k1")
	if err := closeApp(a); err != nil {
		t.Fatal(err)
	}
	for p := range int32(3) {
		c.Truncate(link.Partition{Topic: "g", Num: p}, 0)
	}
	setRow(c, "k5", "afresh")
	app(t, c, lookingUp(t), with)
	if got := ask(t, c, "k1", "k5"); got["k1"] != "none" || got["k5"] != "afresh" {
		t.Errorf("rows are %v", got)
	}
}

func TestAGlobalTableThatCannotBeReadEndsTheApp(t *testing.T) {
	c := globalCluster()
	a := app(t, c, lookingUp(t))
	ask(t, c, "k1")
	setRow(c, "k1", "garbage")
	select {
	case <-a.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the application goes on")
	}
	if err := a.Err(); err == nil || !strings.Contains(err.Error(), `global table of topic "g"`) {
		t.Errorf("Err: %v", err)
	}
}

func TestPreflightFindsAGlobalTablesTopic(t *testing.T) {
	c := cluster(1)
	findings, err := runtime.Preflight(t.Context(), lookingUp(t), runtime.Config{Connect: c.Connect})
	if err != nil || len(findings) != 1 || findings[0].Topic != "g" || !findings[0].Fatal {
		t.Errorf("findings %v, %v", findings, err)
	}
}

// Policies hold for global tables: what cannot be decoded goes to dead letters, whatever
// comes after it is read, and a second process on the same stores does not meet it again.
func TestAGlobalTableBuriesWhatCannotBeDecoded(t *testing.T) {
	c, d := globalCluster(), newDisk(t.TempDir())
	c.Create("dead", 1, nil)
	with := func(cfg *runtime.Config) {
		cfg.Stores = d
		cfg.Policies[plan.Decoding] = plan.Policy{Action: plan.DeadLetter, Topic: "dead"}
	}
	setRow(c, "k1", "garbage")
	setRow(c, "k1", "after")
	a := app(t, c, lookingUp(t), with) // met before the tasks begin
	if got := ask(t, c, "k1", "k2"); got["k1"] != "after" || got["k2"] != "v2" {
		t.Errorf("rows are %v", got)
	}
	setRow(c, "k3", "garbage") // met by the updater
	setRow(c, "k3", "after")
	until(t, "the row behind", func() bool { return ask(t, c, "k3")["k3"] == "after" })
	if err := closeApp(a); err != nil {
		t.Fatal(err)
	}
	app(t, c, lookingUp(t), with)
	ask(t, c, "k1")
	var got []string
	for _, r := range c.Records(link.Partition{Topic: "dead"}) {
		what := string(r.Key) + " " + string(r.Value)
		for _, h := range r.Headers {
			if strings.HasSuffix(h.Key, ".topic") {
				what += " of " + string(h.Value)
			}
		}
		got = append(got, what)
	}
	if diff := cmp.Diff([]string{"k1 garbage of g", "k3 garbage of g"}, got); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
}

// A dead letter that is not there, or not known to be, has its record read again.
func TestAGlobalTableIsNotAheadOfItsDeadLetters(t *testing.T) {
	for _, lost := range []string{"append", "ack"} {
		t.Run(lost, func(t *testing.T) {
			c, d := globalCluster(), newDisk(t.TempDir())
			c.Create("dead", 1, nil)
			with := func(cfg *runtime.Config) {
				cfg.Stores = d
				cfg.Policies[plan.Decoding] = plan.Policy{Action: plan.DeadLetter, Topic: "dead"}
			}
			a := app(t, c, lookingUp(t), with)
			ask(t, c, "k1")
			committed(t, c)
			var buried atomic.Bool
			c.Fault(func(step string, p link.Partition) error {
				here := step == "append" && p.Topic == "dead"
				if here {
					buried.Store(true)
				}
				if here && lost == "append" || step == lost && buried.Load() {
					return errDown
				}
				return nil
			})
			setRow(c, "k1", "garbage")
			select {
			case <-a.Done():
			case <-time.After(time.Minute):
				t.Fatal("the application goes on")
			}
			if err := a.Err(); !errors.Is(err, errDown) {
				t.Errorf("Err: %v, want that of the dead letter", err)
			}
			before := len(c.Records(link.Partition{Topic: "dead"}))
			c.Fault(nil)
			app(t, c, lookingUp(t), with)
			ask(t, c, "k1")
			if n := len(c.Records(link.Partition{Topic: "dead"})); n != before+1 {
				t.Errorf("%d dead letters, want one more than %d", n, before)
			}
		})
	}
}

// A global table with other encodings is read again from its topic.
func TestAGlobalTableInAnotherFormIsReadAgain(t *testing.T) {
	c, d := globalCluster(), newDisk(t.TempDir())
	var log logBuffer
	with := func(cfg *runtime.Config) {
		cfg.Stores = d
		log.into(cfg)
	}
	for times, name := range []string{"text", "text", "other text"} {
		p := lookingUp(t)
		other := serde.String
		other.Name = name
		p.Globals[0].Stores[0].Open = func(b state.Base, o state.Options) state.Store {
			return state.OpenKeyValue("gst", serde.String, other, b, o)
		}
		a := app(t, c, p, with)
		if got := ask(t, c, "k1"); got["k1"] != "v1" {
			t.Errorf("row is %v", got)
		}
		if err := closeApp(a); err != nil {
			t.Fatal(err)
		}
		if n, want := log.count("a global table is set aside"), times/2; n != want {
			t.Errorf("start %d: set aside %d times, want %d", times+1, n, want)
		}
	}
}
