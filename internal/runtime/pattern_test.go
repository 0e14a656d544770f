// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
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

func matching(expr string) *plan.Node {
	n := source("")
	n.Pattern = &plan.Pattern{Expr: expr, Matches: regexp.MustCompile(`\A(?:` + expr + `)\z`).MatchString}
	return n
}

// passing is in-.* -> out, and tells how many tasks were built.
func passing(t testing.TB, built *atomic.Int64) *plan.Plan {
	t.Helper()
	g := plan.NewGraph("app")
	op := g.Add(operator("pass", func(_ plan.Env, next entry) entry {
		if built != nil {
			built.Add(1)
		}
		return next
	}), g.Add(matching("in-.*")))
	g.Add(sink("out", false), op)
	return build(t, g)
}

// summing is in-.* -> count -> out.
func summing(t testing.TB) *plan.Plan {
	t.Helper()
	g := plan.NewGraph("app")
	st := g.AddStore(countStore("n"))
	g.Add(sink("out", false), g.Add(operator("count", count("n"), st), g.Add(matching("in-.*"))))
	return build(t, g)
}

// put appends n records to a topic, keys by the topic.
func put(c *linktest.Cluster, topic string, n int) {
	info, _ := c.Topic(topic)
	for i := range n {
		c.Append(topic, int32(i)%info.Partitions, plan.Raw{Key: fmt.Appendf(nil, "%s.%d", topic, i), Value: []byte("v"), Timestamp: int64(i)})
	}
}

// keys are those of topic out, in order.
func keys(c *linktest.Cluster) []string {
	var got []string
	for _, r := range c.Records(link.Partition{Topic: "out"}) {
		got = append(got, string(r.Key))
	}
	slices.Sort(got)
	return got
}

// topicOf counts records of out by the topic that they come from.
func topicOf(c *linktest.Cluster) map[string]int {
	by := map[string]int{}
	for _, k := range slices.Compact(keys(c)) {
		topic, _, _ := strings.Cut(k, ".")
		by[topic]++
	}
	return by
}

func inState(a *runtime.App, s runtime.State) func() bool {
	return func() bool { return a.State() == s }
}

// A topic that matches is read when it is created, by the tasks that are there and by
// new ones; those that run go on.
func TestATopicThatMatchesIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := linktest.New("cluster-1")
		c.Create("out", 1, nil)
		c.Create("in-a", 2, nil)
		c.Create("other", 2, nil)
		c.Create("__in-b", 2, nil)
		put(c, "in-a", 10)
		put(c, "other", 10)
		var built atomic.Int64
		first := app(t, c, passing(t, &built))
		second := app(t, c, passing(t, &built))
		until(t, "each runs a task", func() bool { return running(first) == 1 && running(second) == 1 })
		until(t, "what is there is processed", func() bool { return topicOf(c)["in-a"] == 10 })
		before := built.Load()

		c.Create("in-b", 3, nil)
		put(c, "in-b", 30)
		time.Sleep(30 * time.Second) // virtual: some looks at the topics
		until(t, "the new topic is processed", func() bool { return topicOf(c)["in-b"] == 30 })
		put(c, "in-a", 20)
		put(c, "in-b", 60)
		until(t, "all goes on", func() bool { b := topicOf(c); return b["in-a"] == 20 && b["in-b"] == 60 })
		if diff := cmp.Diff(map[string]int{"in-a": 20, "in-b": 60}, topicOf(c)); diff != "" {
			t.Errorf("records by topic (-want +got):\n%s", diff)
		}
		if n := built.Load() - before; n != 1 {
			t.Errorf("%d tasks were built for the third partition, want 1: those that run stay", n)
		}
		inputs := map[string]int{}
		for _, a := range []*runtime.App{first, second} {
			for _, task := range a.Progress().Tasks {
				inputs[fmt.Sprint(task.ID.Partition)] += len(task.Inputs)
			}
		}
		if diff := cmp.Diff(map[string]int{"0": 2, "1": 2, "2": 1}, inputs); diff != "" {
			t.Errorf("inputs by task (-want +got):\n%s", diff)
		}
		for _, a := range []*runtime.App{first, second} {
			if err := closeApp(a); err != nil {
				t.Error(err)
			}
		}
		if n := c.Committed("app", link.Partition{Topic: "in-b", Num: 0}); n != 30 {
			t.Errorf("in-b-0 is committed to %d, want 30", n)
		}
	})
}

// An application whose pattern matches nothing runs, makes its internal topics when
// something does, and closes well either way.
func TestAPatternThatMatchesNothingYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := linktest.New("cluster-1")
		c.Create("out", 1, nil)
		idle := app(t, c, passing(t, nil))
		until(t, "it runs without a topic", inState(idle, runtime.Running))
		if err := closeApp(idle); err != nil {
			t.Error(err)
		}
		findings, err := runtime.Preflight(t.Context(), summing(t), runtime.Config{Connect: c.Connect})
		if err != nil || len(findings) != 1 || findings[0].Fatal || !strings.Contains(findings[0].String(), `pattern "in-.*" matches no topic yet`) {
			t.Errorf("preflight says %v, %v", findings, err)
		}
		a := app(t, c, summing(t))
		until(t, "it runs", inState(a, runtime.Running))
		c.Create("in-a", 2, nil)
		put(c, "in-a", 10)
		time.Sleep(30 * time.Second)
		until(t, "it counts", func() bool { return topicOf(c)["in-a"] == 10 })
		if info, _ := c.Topic("app-n-changelog"); info.Partitions != 2 {
			t.Errorf("the changelog has %d partitions, want 2", info.Partitions)
		}
	})
}

// Partitions that are added to a topic get tasks where no state hangs on their number.
func TestATopicThatGrows(t *testing.T) {
	for name, p := range map[string]*plan.Plan{"a pattern": passing(t, nil), "a name": named(t)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := linktest.New("cluster-1")
				c.Create("out", 1, nil)
				c.Create("in-a", 2, nil)
				put(c, "in-a", 10)
				a := app(t, c, p)
				until(t, "it is processed", func() bool { return topicOf(c)["in-a"] == 10 })
				c.Grow("in-a", 4)
				put(c, "in-a", 40)
				time.Sleep(30 * time.Second)
				until(t, "all partitions are", func() bool { return topicOf(c)["in-a"] == 40 })
				if n := running(a); n != 4 {
					t.Errorf("%d tasks run, want 4", n)
				}
			})
		})
	}
}

// named is in-a -> out.
func named(t testing.TB) *plan.Plan {
	g := plan.NewGraph("app")
	g.Add(sink("out", false), g.Add(source("in-a")))
	return build(t, g)
}

// An application whose state hangs on the number of partitions ends with an error that
// says which topics, how many and what to do, and commits nothing of what is new.
func TestATopicThatGrowsUnderState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster(2)
		fill(c, 20)
		a := app(t, c, counting(t, "n"))
		committed(t, c)
		c.Grow("in", 4)
		c.Append("in", 3, plan.Raw{Key: []byte("k0"), Value: []byte("v")})
		time.Sleep(30 * time.Second)
		<-a.Done()
		said(t, a.Err(), `topic "app-n-changelog" has 2 partitions, not 4`, "[in]", "reset the application")
		if a.State() != runtime.Failed {
			t.Errorf("the application is %v, want Failed", a.State())
		}
		if n := c.Committed("app", link.Partition{Topic: "in", Num: 3}); n != -1 {
			t.Errorf("the new partition is committed to %d", n)
		}
	})
}

// Topics whose records meet in a store must have as many partitions as each other, those
// that come later too.
func TestATopicThatMatchesAndDoesNotFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := linktest.New("cluster-1")
		c.Create("out", 1, nil)
		c.Create("in-a", 2, nil)
		put(c, "in-a", 10)
		a := app(t, c, summing(t))
		until(t, "it is counted", func() bool { return topicOf(c)["in-a"] == 10 })
		c.Create("in-b", 3, nil)
		time.Sleep(30 * time.Second)
		<-a.Done()
		said(t, a.Err(), `topic "in-b" has 3 partitions and topic "in-a", whose records it meets, has 2`)
	})
}

// A topic of a pattern that is deleted is read no more, and the rest goes on; one that is
// read by its name ends the application.
func TestATopicThatIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := linktest.New("cluster-1")
		c.Create("out", 1, nil)
		c.Create("in-a", 2, nil)
		c.Create("in-b", 3, nil)
		put(c, "in-a", 10)
		put(c, "in-b", 30)
		var log logBuffer
		a := app(t, c, passing(t, nil), log.into)
		until(t, "it is processed", func() bool { b := topicOf(c); return b["in-a"] == 10 && b["in-b"] == 30 })
		time.Sleep(time.Second)
		c.Delete("in-b")
		time.Sleep(2 * time.Minute)
		until(t, "it runs", inState(a, runtime.Running))
		put(c, "in-a", 20)
		until(t, "the rest goes on", func() bool { return topicOf(c)["in-a"] == 20 })
		if n := running(a); n != 2 {
			t.Errorf("%d tasks run, want 2", n)
		}
		if n := log.count("is gone, and is read no more"); n != 1 {
			t.Errorf("it is said %d times that the topic is gone, want 1", n)
		}
		if n := len(keys(c)); n != 60 { // put writes those of before once more
			t.Errorf("%d records in all, want 60: none twice", n)
		}
		c.Create("in-b", 2, nil)
		put(c, "in-b", 40)
		time.Sleep(time.Minute)
		until(t, "a new one of its name is read", func() bool { return topicOf(c)["in-b"] == 40 })
	})
	synctest.Test(t, func(t *testing.T) {
		c := cluster(2)
		fill(c, 20)
		a := app(t, c, counting(t, "n"))
		committed(t, c)
		c.Delete("in")
		<-a.Done()
		said(t, a.Err(), `topic "in" is gone`)
		if !errors.Is(a.Err(), runtime.ErrTopicDeleted) {
			t.Errorf("%v is not ErrTopicDeleted", a.Err())
		}
	})
}

// Patterns that are found to match one topic end the application, with the topic and both.
func TestPatternsThatOverlap(t *testing.T) {
	g := plan.NewGraph("app")
	g.Add(sink("out", false), g.Add(matching("in-.*")))
	g.Add(sink("out", false), g.Add(matching(".*-a")))
	p := build(t, g)
	synctest.Test(t, func(t *testing.T) {
		c := linktest.New("cluster-1")
		c.Create("out", 1, nil)
		c.Create("in-b", 1, nil)
		c.Create("x-a", 1, nil)
		a := app(t, c, p)
		until(t, "it runs", inState(a, runtime.Running))
		c.Create("in-a", 1, nil)
		<-a.Done()
		said(t, a.Err(), `topic "in-a" matches pattern "in-.*"`, `and pattern ".*-a"`, "one source")
		late := app(t, c, p)
		<-late.Done()
		said(t, late.Err(), `topic "in-a" matches pattern "in-.*"`)
		findings, err := runtime.Preflight(t.Context(), p, runtime.Config{Connect: c.Connect})
		if err != nil || len(findings) != 1 || !findings[0].Fatal {
			t.Errorf("preflight says %v, %v", findings, err)
		}
	})
}

func said(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("nothing is said; want %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q is not said in: %v", p, err)
		}
	}
}
