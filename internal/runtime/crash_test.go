// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/internal/runtime/link/linktest"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// A crasher ends the process at its nth step, counted over link and bases.
type crasher struct {
	c    *linktest.Cluster
	d    *disk
	at   int  // 0: never
	lose bool // what was not acknowledged never arrived

	mu   sync.Mutex
	seen []string
}

func (k *crasher) arm() {
	k.c.Fault(func(step string, p link.Partition) error { return k.step(step + " " + p.Topic) })
	k.d.fault = func(step, store string) error { return k.step(step + " " + store) }
}

func (k *crasher) step(what string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen = append(k.seen, what)
	if len(k.seen) != k.at {
		return nil
	}
	k.d.crash()
	k.c.Kill(k.lose)
	return errDown
}

const (
	rounds   = 3
	perRound = 20
)

// crashRun counts three rounds of input over two stores, with a crash at the nth
// step and a restart after it, and returns the steps of the first process. keep
// tells whether what was appended but not acknowledged, or applied but not flushed,
// is there after the crash all the same.
func crashRun(t *testing.T, n int, keep bool) []string {
	t.Helper()
	c, d := cluster(2), newDisk("")
	k := &crasher{c: c, d: d, at: n, lose: !keep}
	k.arm()
	with := func(cfg *runtime.Config) {
		cfg.Stores, cfg.Workers = d, 1
		cfg.StoreOptions = state.Options{ApplyBytes: 1}
		cfg.BaseLagTime = 150 * time.Millisecond
		cfg.CommitInterval = 100 * time.Millisecond
	}
	p := counting(t, "n", "m")
	want := map[string]int64{}
	round := func() {
		for key, n := range fill(c, perRound) {
			want[key] += n
		}
		time.Sleep(time.Second)
	}
	a := app(t, c, p, with)
	for range rounds {
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
	if len(d.causes) > 0 {
		t.Errorf("a crash had state set aside: %v", d.causes)
	}
	checkCounts(t, c, d, want, int64(perRound/10))
	if n == 0 || n <= len(steps) && !strings.HasPrefix(steps[n-1], "append") { // not in the middle of a changelog
		if diff := cmp.Diff(folded(c, "app-n-changelog"), folded(c, "app-m-changelog")); diff != "" {
			t.Errorf("two stores of one task (-n +m):\n%s", diff)
		}
	}
	return steps
}

// checkCounts: at least the truth and at most more of what one round brings, and
// the stores equal to the changelogs and as far as their headers say.
func checkCounts(t *testing.T, c *linktest.Cluster, d *disk, want map[string]int64, more int64) {
	t.Helper()
	for _, store := range []string{"n", "m"} {
		log := folded(c, "app-"+store+"-changelog")
		for key, n := range want {
			if log[key] < n || log[key] > n+more {
				t.Errorf("store %s: count of %s is %d, want %d and at most %d more", store, key, log[key], n, more)
			}
		}
		got, headers := stored(t, d, store, 2)
		if diff := cmp.Diff(log, got); diff != "" {
			t.Errorf("store %s (-changelog +base):\n%s", store, diff)
		}
		for i, h := range headers {
			end := int64(len(c.Records(link.Partition{Topic: "app-" + store + "-changelog", Num: int32(i)})))
			if h.Position != end {
				t.Errorf("store %s: position %d in task %d, but the changelog ends at %d", store, h.Position, i, end)
			}
		}
	}
}

func TestCrashBetweenAnyTwoStepsLosesNothing(t *testing.T) {
	var steps []string
	synctest.Test(t, func(t *testing.T) { steps = crashRun(t, 0, false) })
	kinds := map[string]bool{}
	for _, s := range steps {
		kinds[strings.Fields(s)[0]] = true
	}
	for _, k := range []string{"append", "ack", "commit", "apply", "flush", "ends"} {
		if !kinds[k] {
			t.Fatalf("no step %q among %v", k, steps)
		}
	}
	stride := 1
	if testing.Short() {
		stride = 7
	}
	for n := 1; n <= len(steps); n += stride {
		for _, keep := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d-%s/keep=%v", n, strings.ReplaceAll(steps[n-1], " ", "-"), keep), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { crashRun(t, n, keep) })
			})
		}
	}
}

func TestBasesThatDoNotFitAreSetAside(t *testing.T) {
	log := link.Partition{Topic: "app-n-changelog"}
	edit := func(fn func(h *state.Header)) func(*linktest.Cluster, *disk) {
		return func(_ *linktest.Cluster, d *disk) {
			b := d.bases["cluster-1/app/in-0/n"]
			h := *b.now.header
			fn(&h)
			b.now.header = &h
		}
	}
	tests := []struct {
		name   string
		change func(c *linktest.Cluster, d *disk)
		cause  string // "": it is kept
	}{
		{"nothing", func(*linktest.Cluster, *disk) {}, ""},
		{"it lags", edit(func(h *state.Header) { h.Position = 10 }), ""},
		{"it lags and is old, within the retention", edit(func(h *state.Header) { h.Position -= 10; h.AppliedAt -= 86_000_000 }), ""},
		{"no leader epoch is known", edit(func(h *state.Header) { h.LeaderEpoch = state.NoEpoch }), ""},
		{"it lags beyond the life of tombstones", edit(func(h *state.Header) { h.Position -= 10; h.AppliedAt -= 87_000_000 }), "tombstones"},
		{"it is old and lacks nothing", edit(func(h *state.Header) { h.AppliedAt = 1 }), ""},
		{"a position after the end", edit(func(h *state.Header) { h.Position = 1000 }), "outside of the changelog"},
		{"another cluster", edit(func(h *state.Header) { h.Cluster = "other" }), "cluster is"},
		{"another topic id", edit(func(h *state.Header) { h.ChangelogID[0]++ }), "topic id"},
		{"another format", edit(func(h *state.Header) { h.Format = 99 }), "format"},
		{
			"a log that was cut and has grown again", func(c *linktest.Cluster, _ *disk) {
				recs := c.Records(log)
				c.Truncate(log, 30)
				for _, r := range recs[30:] {
					c.Append(log.Topic, 0, plan.Raw{Key: r.Key, Value: r.Value})
				}
			}, "was cut: leader epoch 0 ends at offset 30",
		},
		{
			"a broker that has begun a new epoch", func(c *linktest.Cluster, _ *disk) { c.Truncate(log, 1000) }, "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, d := cluster(1), newDisk("")
			want := fill(c, 100)
			var log logBuffer
			with := func(cfg *runtime.Config) {
				cfg.Stores, cfg.CommitInterval = d, 2*time.Millisecond
				log.into(cfg)
			}
			var a *runtime.App
			for range 5 { // several commits: more than one record a key
				a = app(t, c, counting(t, "n"), with)
				committed(t, c)
				if err := closeApp(a); err != nil {
					t.Fatal(err)
				}
				for k, n := range fill(c, 100) {
					want[k] += n
				}
			}
			tt.change(c, d)
			a = app(t, c, counting(t, "n"), with)
			committed(t, c)
			if err := closeApp(a); err != nil {
				t.Fatal(err)
			}
			switch {
			case tt.cause == "" && len(d.causes) > 0:
				t.Errorf("set aside: %v", d.causes)
			case tt.cause != "" && (len(d.causes) != 1 || !strings.Contains(d.causes[0], tt.cause)):
				t.Errorf("causes %q, want one with %q", d.causes, tt.cause)
			case tt.cause != "" && log.count("is set aside and rebuilt") != 1:
				t.Error("it is not logged once")
			}
			if diff := cmp.Diff(want, folded(c, "app-n-changelog")); diff != "" {
				t.Errorf("changelog (-want +got):\n%s", diff)
			}
			if got, _ := stored(t, d, "n", 1); !cmp.Equal(got, want) {
				t.Errorf("base (-want +got):\n%s", cmp.Diff(want, got))
			}
		})
	}
}

func TestRestoreEndsAtTheEndOfTheLogNotAtARecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster(1)
		c.Create("app-n-changelog", 1, nil)
		log := link.Partition{Topic: "app-n-changelog"}
		for i := range 250 {
			c.Append(log.Topic, 0, plan.Raw{Key: []byte("k" + strconv.Itoa(i%10)), Value: appendInt64(int64(i))})
		}
		c.Skip(log, 7) // markers
		a := app(t, c, counting(t, "n"))
		time.Sleep(time.Second)
		p := a.Progress()
		if p.State != runtime.Running || p.Tasks[0].Restored != 257 || p.Tasks[0].ToRestore != 257 {
			t.Errorf("progress %+v, want running and 257 of 257 restored", p)
		}
		fill(c, 10)
		time.Sleep(time.Second)
		if got := folded(c, log.Topic)["k9"]; got != 250 {
			t.Errorf("k9 went on to %d, want 250", got)
		}
	})
}

func appendInt64(v int64) []byte {
	b, err := serde.Int64.Append(nil, v)
	if err != nil {
		panic(err)
	}
	return b
}
