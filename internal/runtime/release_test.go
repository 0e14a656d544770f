// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/state"
)

// heldStores is a backend whose stores are not closed before open is.
type heldStores struct {
	state.Backend
	open    chan struct{}
	closing atomic.Int64
}

func (b *heldStores) Open(path string) (state.DB, error) {
	db, err := b.Backend.Open(path)
	return heldDB{db, b}, err
}

type heldDB struct {
	state.DB
	b *heldStores
}

func (db heldDB) Close() error {
	db.b.closing.Add(1)
	<-db.b.open
	return db.DB.Close()
}

// Closing the stores of tasks that are taken away holds up nothing: not the rebalance,
// not the tasks that stay. Only the same task waits for it, when it comes back.
func TestStoresOfTakenTasksAreClosedOffThePath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster(4)
		want := fill(c, 400)
		held := &heldStores{Backend: state.Memory(), open: make(chan struct{})}
		first := app(t, c, counting(t, "n"), func(cfg *runtime.Config) { cfg.Stores = held })
		committed(t, c)
		second := app(t, c, counting(t, "n"))
		until(t, "the second instance runs two tasks", func() bool { return running(second) == 2 && running(first) == 2 })
		if n := held.closing.Load(); n != 2 {
			t.Fatalf("%d tasks are being closed, want 2", n)
		}
		for k, n := range fill(c, 400) {
			want[k] += n
		}
		committed(t, c) // by both

		if err := closeApp(second); err != nil {
			t.Fatal(err)
		}
		until(t, "the first instance has all tasks again", func() bool { return len(first.Progress().Tasks) == 4 })
		time.Sleep(time.Second) // of the bubble: all that can happen has
		if n := running(first); n != 2 {
			t.Errorf("%d tasks run, want the 2 whose stores are not being closed", n)
		}
		close(held.open)
		for k, n := range fill(c, 400) {
			want[k] += n
		}
		committed(t, c)
		if n := running(first); n != 4 {
			t.Errorf("%d tasks run, want all 4", n)
		}
		if diff := cmp.Diff(want, folded(c, "app-n-changelog")); diff != "" {
			t.Errorf("counts (-want +got):\n%s", diff)
		}
	})
}

// running counts the tasks of an instance that run.
func running(a *runtime.App) int {
	n := 0
	for _, task := range a.Progress().Tasks {
		if task.Running {
			n++
		}
	}
	return n
}
