// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/assign"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/state"
)

// saying keeps what an instance says of itself at its last join.
type saying struct {
	link.Cluster
	last *atomic.Pointer[assign.Data]
}

func (s saying) Join(cfg link.MemberConfig) (link.Member, error) {
	ask := cfg.Balancing.Data
	cfg.Balancing.Data = func() assign.Data {
		d := ask()
		s.last.Store(&d)
		return d
	}
	return s.Cluster.Join(cfg)
}

// inFolder is a backend that says that it has a folder.
type inFolder struct {
	state.Backend
	dir string
}

func (b inFolder) Dir() string { return b.dir }

// An instance says where it answers queries, and how far the states are that it has:
// those of the tasks that it runs, and those that it left on disk.
func TestAnInstanceSaysWhatItHas(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := cluster(2)
		fill(c, 100)
		var said atomic.Pointer[assign.Data]
		first := app(t, c, counting(t, "n"), func(cfg *runtime.Config) {
			cfg.Address, cfg.Stores = "first:80", inFolder{state.Memory(), dir}
			connect := cfg.Connect
			cfg.Connect = func(lc link.Config) (link.Cluster, error) {
				k, err := connect(lc)
				return saying{k, &said}, err
			}
		})
		committed(t, c)
		second := app(t, c, counting(t, "n"), func(cfg *runtime.Config) { cfg.Address = "second:80" })
		until(t, "each runs a task", func() bool { return running(first) == 1 && running(second) == 1 })
		third := app(t, c, counting(t, "n"))
		until(t, "the first has said what it has", func() bool { return len(roles(said.Load())) == 2 })

		got := said.Load()
		if got.Address != "first:80" || got.Capacity != 2 {
			t.Errorf("the instance says address %q, capacity %d", got.Address, got.Capacity)
		}
		ends := map[assign.TaskID]int64{}
		for n := range int32(2) {
			log := c.Records(link.Partition{Topic: "app-n-changelog", Num: n})
			ends[assign.TaskID{Sub: "in", Partition: n}] = int64(len(log))
		}
		for _, copied := range got.Copies {
			if want := ends[copied.Task]; copied.Position != want {
				t.Errorf("the copy of %v is at %d, and its changelog ends at %d", copied.Task, copied.Position, want)
			}
		}
		if diff := cmp.Diff(map[assign.Role]int{assign.Active: 1, assign.Dormant: 1}, roles(got)); diff != "" {
			t.Errorf("roles of its copies (-want +got):\n%s", diff)
		}
		hosts := map[string]int{}
		for _, h := range second.Hosts() {
			hosts[h.Address] = len(h.Active)
		}
		if diff := cmp.Diff(map[string]int{"first:80": 1, "second:80": 1}, hosts); diff != "" {
			t.Errorf("tasks by address, as another instance knows them (-want +got):\n%s", diff)
		}
		if err := closeApp(third); err != nil {
			t.Error(err)
		}
	})
}

func roles(d *assign.Data) map[assign.Role]int {
	n := map[assign.Role]int{}
	if d != nil {
		for _, c := range d.Copies {
			n[c.Role]++
		}
	}
	return n
}
