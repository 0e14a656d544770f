// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/internal/runtime/link/linktest"
	"github.com/millrace/millrace/state"
)

// spread puts n records with a key each into topic in.
func spread(c *linktest.Cluster, from, n int) {
	for i := range n {
		c.Append("in", link.AnyPartition, plan.Raw{Key: fmt.Appendf(nil, "key-%06d", from+i), Value: []byte("v")})
	}
}

// budgeted is a disk that is told of a budget.
type budgeted struct {
	*disk
	budget *state.Budget
	dbs    int
}

func (b *budgeted) UseBudget(to *state.Budget, dbs int) { b.budget, b.dbs = to, dbs }

// While no commit can end, the tasks stop at the limit, and go on after; nothing but
// the limit asks for a commit here.
func TestTheMemoryLimitHoldsWhileNothingCanBeCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, records = 4 << 20, 60_000
		c := cluster(4)
		d := &budgeted{disk: newDisk("")}
		var log logBuffer
		a := app(t, c, counting(t, "n"), func(cfg *runtime.Config) {
			cfg.Stores, cfg.MemoryLimit = d, limit
			cfg.CommitInterval, cfg.OpenBytes = 100*time.Hour, 1<<40
			log.into(cfg)
		})
		time.Sleep(time.Second)
		synctest.Wait()
		if d.budget == nil || d.budget.Limit() != limit/4*3 || d.dbs != 4 {
			t.Fatalf("the backend has no budget of three quarters for four tasks: %v, %d", d.budget, d.dbs)
		}
		c.Hold(true)
		spread(c, 0, records)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		p := a.Progress()
		layers := d.budget.Layers()
		if p.Memory.Uncommitted < layers || p.Memory.Uncommitted > layers+layers/4 {
			t.Errorf("%d bytes are uncommitted, want about %d", p.Memory.Uncommitted, layers)
		}
		if p.Records == 0 || p.Records >= records || p.Memory.Stops == 0 {
			t.Errorf("%d of %d records were processed, with %d stops", p.Records, records, p.Memory.Stops)
		}
		if p.Memory.Queued > limit/8+4*100_000 { // a batch each above
			t.Errorf("%d bytes wait in queues", p.Memory.Queued)
		}
		if log.count("memory limit is reached") == 0 {
			t.Error("nobody is told")
		}
		c.Hold(false)
		time.Sleep(time.Minute)
		if p = a.Progress(); p.Records != records || p.Commits == 0 {
			t.Errorf("%d of %d records were processed after, in %d commits", p.Records, records, p.Commits)
		}
		if err := closeApp(a); err != nil {
			t.Fatal(err)
		}
		p = a.Progress()
		if p.Memory.Uncommitted != 0 || p.Memory.Cached != 0 || p.Memory.Queued != 0 {
			t.Errorf("after the end %+v is in use", p.Memory)
		}
		if got := folded(c, "app-n-changelog"); len(got) != records {
			t.Errorf("%d keys in the changelog, want %d", len(got), records)
		}
	})
}

// Stores that have committed what they hold must not keep others from work.
func TestTheMemoryLimitLeavesRoomForManyStores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const records = 40_000
		c := cluster(64)
		d := &budgeted{disk: newDisk("")}
		a := app(t, c, counting(t, "n"), func(cfg *runtime.Config) {
			cfg.Stores, cfg.MemoryLimit, cfg.CommitInterval, cfg.OpenBytes = d, 1<<20, 100*time.Hour, 1<<40
		})
		for from := 0; from < records; from += records / 4 {
			spread(c, from, records/4)
			time.Sleep(time.Minute)
		}
		if p := a.Progress(); p.Records != records || p.Lag() != 0 {
			t.Errorf("%d of %d records were processed; %+v", p.Records, records, p.Memory)
		}
		if err := closeApp(a); err != nil {
			t.Fatal(err)
		}
	})
}

// A worker that has nothing to commit itself waits for the commits of others.
func TestARoomierMemoryWakesTheWorkersThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster(2)
		a := app(t, c, counting(t, "n"), func(cfg *runtime.Config) {
			cfg.MemoryLimit, cfg.CommitInterval, cfg.OpenBytes = 1<<20, 100*time.Hour, 1<<40
		})
		time.Sleep(time.Second)
		c.Hold(true)
		for i := range 20_000 {
			c.Append("in", 0, plan.Raw{Key: fmt.Appendf(nil, "key-%06d", i), Value: []byte("v")})
		}
		time.Sleep(time.Second)
		c.Append("in", 1, plan.Raw{Key: []byte("other"), Value: []byte("v")})
		time.Sleep(time.Second)
		other := func() int64 { return a.Progress().Tasks[1].Records }
		if n := other(); n != 0 {
			t.Fatalf("%d records were processed with the memory full", n)
		}
		c.Hold(false)
		time.Sleep(time.Minute)
		if n := other(); n != 1 {
			t.Errorf("%d records were processed when there was room again, want 1", n)
		}
		if err := closeApp(a); err != nil {
			t.Fatal(err)
		}
	})
}
