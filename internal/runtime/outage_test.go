// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/internal/runtime/link/linktest"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/topic"
	"github.com/millrace/millrace/window"
)

// perMinute counts records a minute and sends a count when its minute has closed.
func perMinute(t *testing.T) *plan.Plan {
	t.Helper()
	top := processor.NewTopology("app")
	kstream.From(top, topic.Of[string, string]("in")).GroupByKey().
		Windowed(window.Tumbling(time.Minute).Grace(10*time.Second)).Emit(window.OnClose).Count("st", ktable.Retention(time.Hour)).
		To(topic.Of[window.Key[string], int64]("out").Keys(window.TimeKey(topic.Of[string, string]("in").KeySerde(), time.Minute)))
	p, err := top.Graph().Build()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// produce puts a record of key k with the present time minus late.
func produce(c *linktest.Cluster, late time.Duration) {
	c.Append("in", 0, plan.Raw{Key: []byte("k"), Value: []byte("v"), Timestamp: time.Now().Add(-late).UnixMilli()})
}

// counted gives the windows that came out, by their start in seconds after from.
func counted(c *linktest.Cluster, from time.Time) map[int64]int64 {
	got := map[int64]int64{}
	for _, r := range c.Records(link.Partition{Topic: "out"}) {
		start := int64(0)
		for _, b := range r.Key[len(r.Key)-8:] {
			start = start<<8 | int64(b)
		}
		got[(start-from.UnixMilli())/1000] += int64(r.Value[7])
	}
	return got
}

// Ten minutes without a broker while idle sources let time go on: no window closes, and
// none of the records that producers kept back is late.
func TestAnOutageMakesNoRecordLate(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart=%v", restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { outage(t, restart) })
		})
	}
}

func outage(t *testing.T, restart bool) {
	c, d := cluster(1), newDisk("")
	began := time.Now() // a full minute, as bubbles begin
	with := func(cfg *runtime.Config) {
		cfg.SourceIdleness, cfg.CommitInterval, cfg.Workers, cfg.Stores = 20*time.Second, time.Second, 1, d
	}
	p := perMinute(t)
	a := app(t, c, p, with)
	time.Sleep(5 * time.Second)
	for range 5 { // five records in the first minute
		produce(c, 0)
		time.Sleep(time.Second)
	}
	time.Sleep(5 * time.Second)
	c.Away(true)
	time.Sleep(10 * time.Minute)
	if restart { // whoever is killed in an outage does not begin to think that time went on
		c.Kill(false)
		_ = closeApp(a)
		d.crash()
		d.recover(false)
		a = app(t, c, p, with)
		time.Sleep(time.Minute)
	}
	c.Away(false)
	time.Sleep(10 * time.Second)
	if got := counted(c, began); len(got) > 0 {
		t.Fatalf("windows were closed in the outage: %v", got)
	}
	for i := range 60 { // what was kept back: one for each ten seconds of the outage
		produce(c, time.Since(began)-15*time.Second-time.Duration(i)*10*time.Second)
	}
	time.Sleep(15 * time.Second)
	for _, task := range a.Progress().Tasks {
		if len(task.Dropped) > 0 {
			t.Errorf("records were dropped: %v", task.Dropped)
		}
	}
	time.Sleep(5 * time.Minute) // idle, with a broker: so the last minutes close
	want := map[int64]int64{0: 5 + 5, 600: 1}
	for m := int64(60); m < 600; m += 60 {
		want[m] = 6
	}
	if diff := cmp.Diff(want, counted(c, began)); diff != "" {
		t.Errorf("counts by minute (-want +got):\n%s", diff)
	}
	if err := closeApp(a); err != nil {
		t.Fatal(err)
	}
}
