// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
	"github.com/millrace/millrace/cmd/millrace/internal/cli/clitest"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/state/pebble"
	"github.com/millrace/millrace/topic"
)

// shop counts the values of topic "orders", by way of a repartition topic.
func shop() *processor.Topology {
	t := processor.NewTopology("shop")
	kstream.From(t, topic.Unkeyed[string]("orders")).
		GroupBy("by-value", func(_ topic.NoKey, v string) string { return v }).Count("counts").To(topic.Of[string, int64]("totals"))
	return t
}

// runShop starts the application, waits until it has written n results in all, and
// gives the way to end it.
func runShop(t *testing.T, f *cli.Flags, dir string, n int64) (stop func()) {
	t.Helper()
	stores := pebble.At(dir)
	a, err := processor.Start(t.Context(), shop(), processor.Config{
		Brokers: strings.Split(f.Brokers, ","), Dial: f.Dial, Stores: stores, CommitInterval: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	tick, limit := time.NewTicker(20*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for end := int64(0); end < n; {
		select {
		case <-tick.C:
		case <-a.Done():
			t.Fatal(a.Err())
		case <-limit:
			t.Fatalf("%d results, want %d", end, n)
		}
		end = 0
		for _, o := range decode[[]struct{ End int64 }](t, f, "offsets list totals") {
			end += o.End
		}
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := a.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := stores.Close(); err != nil {
			t.Error(err)
		}
	}
}

type resetReport struct {
	Application    string
	Executed       bool
	RemovedMembers []string
	Offsets        []struct {
		Topic     string
		Partition int32
		From, To  int64
	}
	DeletedTopics []string
	DeletedState  string
}

func topicNames(t *testing.T, f *cli.Flags) string {
	t.Helper()
	var names []string
	for _, i := range decode[[]struct{ Topic string }](t, f, "topics list") {
		names = append(names, i.Topic)
	}
	return strings.Join(names, " ")
}

// lastTotal is the last count of a value that was written.
func lastTotal(t *testing.T, f *cli.Flags, n int, value string) int64 {
	t.Helper()
	cl, err := f.Client(t.Context(), kgo.ConsumeTopics("totals"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	last := int64(-1)
	for seen := 0; seen < n; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			t.Fatal(err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			if seen++; string(r.Key) == value {
				last = int64(r.Value[7])
			}
		})
	}
	return last
}

func TestAnApplicationIsReset(t *testing.T) {
	f := clitest.Broker(t)
	for _, name := range []string{"orders", "totals", "shop-eu-x-changelog", "shop-changelog"} {
		must(t, f, "topics create "+name)
	}
	produce(t, f, "orders", "a", "b", "a", "a")
	dir := t.TempDir()
	stop := runShop(t, f, dir, 4)
	if _, err := run(t, f, "app reset shop"); err == nil || !strings.Contains(err.Error(), "stop them first") {
		t.Errorf("with members: %v", err)
	}
	if _, err := run(t, f, "app reset shop --dry-run --force --state "+dir); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("with the folder in use: %v", err)
	}
	stop()

	// Another application, whose name begins with this one's.
	cl, err := f.Client(t.Context(), kgo.ConsumerGroup("shop-eu"), kgo.ConsumeTopics("orders"), kgo.DisableAutoCommit())
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.CommitRecords(t.Context(), cl.PollFetches(t.Context()).Records()...); err != nil {
		t.Fatal(err)
	}
	cl.Close()

	all := topicNames(t, f)
	want := resetReport{
		Application: "shop", RemovedMembers: []string{},
		DeletedTopics: []string{"shop-by-value-repartition", "shop-counts-changelog"},
	}
	dry := decode[resetReport](t, f, "app reset shop --dry-run --state "+dir)
	if len(dry.Offsets) != 1 || dry.Offsets[0].Topic != "orders" || dry.Offsets[0].From != 4 || dry.Offsets[0].To != 0 {
		t.Errorf("offsets %+v, want orders from 4 to 0", dry.Offsets)
	}
	want.Offsets, want.DeletedState = dry.Offsets, dry.DeletedState
	if diff := cmp.Diff(want, dry); diff != "" || !strings.HasSuffix(dry.DeletedState, "shop") {
		t.Errorf("dry run (-want +got):\n%s", diff)
	}
	if now := topicNames(t, f); now != all {
		t.Errorf("the dry run has changed the topics from %s to %s", all, now)
	}
	if _, err := os.Stat(dry.DeletedState); err != nil {
		t.Errorf("the dry run has deleted state: %v", err)
	}

	want.Executed = true
	if diff := cmp.Diff(want, decode[resetReport](t, f, "app reset shop --state "+dir)); diff != "" {
		t.Errorf("reset (-want +got):\n%s", diff)
	}
	if now := topicNames(t, f); now != "orders shop-changelog shop-eu-x-changelog totals" {
		t.Errorf("after the reset the topics are %s", now)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*", "shop")); err != nil || len(left) > 0 {
		t.Errorf("state is left: %v, %v", left, err)
	}
	runShop(t, f, dir, 8)() // all of it again, from nothing
	if n := lastTotal(t, f, 8, "a"); n != 3 {
		t.Errorf("after the reset a was counted %d times, want 3", n)
	}
}

func TestWhereAnApplicationIsResetTo(t *testing.T) {
	f := clitest.Broker(t)
	must(t, f, "topics create orders")
	must(t, f, "topics create other")
	produce(t, f, "orders", "0", "1", "2", "3", "4", "5") // at times 0 s, 1 s, ...
	produce(t, f, "other", "0", "1")
	for _, tt := range []struct {
		flags string
		want  string
	}{
		{"", "orders 0"},
		{"--to-latest", "orders 6"},
		{"--to-datetime 1970-01-01T00:00:02Z", "orders 2"},
		{"--by-duration 1h", "orders 6"},
		{"--shift -1", "orders 3"},
		{"--to-offset 5", "orders 5"},
		{"--to-offset 99", "orders 6"},
		{"--input-topics other --to-latest", "other 2"},
	} {
		cl, err := f.Client(t.Context(), kgo.ConsumerGroup("shop"))
		if err != nil {
			t.Fatal(err)
		}
		if err := cl.CommitRecords(t.Context(), &kgo.Record{Topic: "orders", Offset: 3}); err != nil {
			t.Fatal(err)
		}
		cl.Close()
		r := decode[resetReport](t, f, "app reset shop "+tt.flags)
		if len(r.Offsets) != 1 || fmt.Sprint(r.Offsets[0].Topic, " ", r.Offsets[0].To) != tt.want {
			t.Errorf("app reset shop %s moves %+v, want %s", tt.flags, r.Offsets, tt.want)
		}
		if tt.flags == "" {
			out := must(t, f, "app reset shop --dry-run")
			if !strings.Contains(out, "leave out --dry-run") || !strings.Contains(out, "orders") {
				t.Errorf("it prints\n%s", out)
			}
		}
		must(t, f, "offsets delete shop --all-topics --execute")
	}
	for _, line := range []string{
		"app reset shop --to-earliest --to-latest", "app reset", "app reset shop --internal-topics orders", "app reset nobody",
	} {
		if _, err := run(t, f, line); err == nil {
			t.Errorf("millrace %s is taken", line)
		}
	}
}

// A member that has died keeps its group until its session ends, or by force.
func TestAnApplicationIsResetByForce(t *testing.T) {
	f := clitest.Broker(t)
	must(t, f, "topics create orders")
	produce(t, f, "orders", "0", "1")
	cl, err := f.Client(t.Context(), kgo.ConsumerGroup("shop"), kgo.ConsumeTopics("orders"), kgo.InstanceID("one"), kgo.DisableAutoCommit())
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.CommitRecords(t.Context(), cl.PollFetches(t.Context()).Records()...); err != nil {
		t.Fatal(err)
	}
	cl.Close() // a static member does not leave
	if _, err := run(t, f, "app reset shop"); err == nil {
		t.Fatal("a group with a member is reset")
	}
	if r := decode[resetReport](t, f, "app reset shop --force"); len(r.RemovedMembers) != 1 {
		t.Errorf("members %v were removed, want one", r.RemovedMembers)
	}
	if r := decode[resetReport](t, f, "app reset shop"); len(r.RemovedMembers) != 0 || r.Offsets[0].From != 0 {
		t.Errorf("then %+v, want no member, and offsets that are at 0 already", r)
	}
}
