// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/internal/runtime/link/linktest"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/topic"
)

func plain(name string) topic.Topic[string, string] { return topic.Of[string, string](name) }

func defined(t *testing.T, define func(top *processor.Topology)) *plan.Plan {
	t.Helper()
	top := processor.NewTopology("app")
	define(top)
	return build(t, top.Graph())
}

func valuesOf(c *linktest.Cluster, p link.Partition) string {
	var vs []string
	for _, r := range c.Records(p) {
		vs = append(vs, string(r.Value))
	}
	return strings.Join(vs, " ")
}

func TestASourceBeginsWhereItSays(t *testing.T) {
	for name, tt := range map[string]struct {
		option kstream.SourceOption
		want   string
	}{
		"at the start":             {kstream.Earliest(), "old new next"},
		"at the end":               {kstream.Latest(), "next"},
		"an hour ago":              {kstream.Since(time.Hour), "new next"},
		"a minute ago: at the end": {kstream.Since(time.Minute), "next"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := cluster(1)
				put := func(value string, ago time.Duration) {
					c.Append("in", 0, plan.Raw{Key: []byte("k"), Value: []byte(value), Timestamp: time.Now().Add(-ago).UnixMilli()})
				}
				put("old", 2*time.Hour)
				put("new", 30*time.Minute)
				p := defined(t, func(top *processor.Topology) {
					kstream.From(top, plain("in"), tt.option).To(plain("out"))
				})
				a := app(t, c, p)
				until(t, "the app runs", func() bool { return a.State() == runtime.Running })
				put("next", 0)
				out := link.Partition{Topic: "out"}
				until(t, "all is there", func() bool { return strings.HasSuffix(valuesOf(c, out), "next") })
				if got := valuesOf(c, out); got != tt.want {
					t.Errorf("read %q, want %q", got, tt.want)
				}
				committed(t, c)
				if err := closeApp(a); err != nil {
					t.Fatal(err)
				}
				put("away", 0) // what is committed counts, wherever a source would begin
				b := app(t, c, p)
				until(t, "it has gone on", func() bool { return valuesOf(c, out) == tt.want+" away" })
				if err := closeApp(b); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestASourceThatNeedsACommittedOffset(t *testing.T) {
	c := cluster(1)
	from := func(option kstream.SourceOption) *plan.Plan {
		return defined(t, func(top *processor.Topology) { kstream.From(top, plain("in"), option).To(plain("out")) })
	}
	a := app(t, c, from(kstream.CommittedOnly()))
	<-a.Done()
	if err := a.Err(); !errors.Is(err, runtime.ErrNotCommitted) || !strings.Contains(err.Error(), "in-0") {
		t.Errorf("ended with %v, want %v and the partition", err, runtime.ErrNotCommitted)
	}
	first := app(t, c, from(kstream.Earliest()))
	fill(c, 3)
	committed(t, c)
	if err := closeApp(first); err != nil {
		t.Fatal(err)
	}
	b := app(t, c, from(kstream.CommittedOnly()))
	until(t, "the app runs", func() bool { return b.State() == runtime.Running })
}

func TestTheProgramChoosesPartitions(t *testing.T) {
	p := defined(t, func(top *processor.Topology) {
		kstream.From(top, plain("in")).To(plain("spread"), kstream.PartitionBy(func(_, v string, n int32) int32 {
			if v == "far" {
				return n
			}
			return int32(len(v)) - 1 // the empty one: by key
		}), kstream.OnError(processor.Skip()))
	})
	c := cluster(1)
	findings, err := runtime.Preflight(t.Context(), p, runtime.Config{Connect: c.Connect})
	if err != nil || len(findings) != 1 || !findings[0].Fatal || !strings.Contains(findings[0].String(), `topic "spread" does not exist`) {
		t.Errorf("found %v, %v; want that the topic must exist", findings, err)
	}
	c.Create("spread", 3, nil)
	for _, v := range []string{"a", "bb", "ccc", "d", "far", ""} {
		c.Append("in", 0, plan.Raw{Key: []byte("k"), Value: []byte(v)})
	}
	a := app(t, c, p)
	committed(t, c)
	if err := closeApp(a); err != nil {
		t.Fatal(err)
	}
	want := map[int32]string{0: "a d", 1: "bb", 2: "ccc"}
	want[link.PartitionFor([]byte("k"), 3)] += " "
	got := map[int32]string{}
	for n := range int32(3) {
		got[n] = valuesOf(c, link.Partition{Topic: "spread", Num: n})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestARepartitionTopicHasThePartitionsThatAreAskedFor(t *testing.T) {
	p := defined(t, func(top *processor.Topology) {
		kstream.From(top, plain("in")).Repartition("r", kstream.Partitions(5)).To(plain("out"))
	})
	c := cluster(2)
	a := app(t, c, p)
	fill(c, 20)
	out := link.Partition{Topic: "out"}
	until(t, "all is through", func() bool { return len(c.Records(out)) == 20 })
	if err := closeApp(a); err != nil {
		t.Fatal(err)
	}
	if info, _ := c.Topic("app-r-repartition"); info.Partitions != 5 {
		t.Errorf("%d partitions, want 5", info.Partitions)
	}
	c = cluster(2)
	c.Create("app-r-repartition", 2, map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"})
	findings, err := runtime.Preflight(t.Context(), p, runtime.Config{Connect: c.Connect})
	if err != nil || !strings.Contains(fmt.Sprint(findings), "has 2 partitions, not 5, which Repartition asks for") {
		t.Errorf("found %v, %v; want that the number does not fit", findings, err)
	}
}

func TestOneSourceOfSeveralTopics(t *testing.T) {
	c := cluster(2)
	c.Create("more", 1, nil)
	p := defined(t, func(top *processor.Topology) {
		kstream.FromAll(top, []topic.Topic[string, string]{plain("in"), plain("more")}).To(plain("out"))
	})
	for i, name := range []string{"in", "more", "in"} {
		c.Append(name, 0, plan.Raw{Key: []byte("k"), Value: []byte{byte('a' + i)}, Timestamp: int64(i)})
	}
	c.Append("in", 1, plan.Raw{Key: []byte("k"), Value: []byte("d"), Timestamp: 9})
	a := app(t, c, p)
	out := link.Partition{Topic: "out"}
	until(t, "all is through", func() bool { return len(c.Records(out)) == 4 })
	if err := closeApp(a); err != nil {
		t.Fatal(err)
	}
	if got := strings.ReplaceAll(valuesOf(c, out), "d", ""); strings.Join(strings.Fields(got), " ") != "a b c" {
		t.Errorf("in partition 0 it was %q, want a b c: in the order of time", got)
	}
}
