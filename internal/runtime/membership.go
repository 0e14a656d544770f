// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"github.com/millrace/millrace/internal/runtime/assign"
	"github.com/millrace/millrace/internal/runtime/link"
)

// balancing is what the group's leader is told of this instance, and what it tells.
func (a *App) balancing(subs []assign.Sub) link.Balancing {
	return link.Balancing{Subs: subs, Data: a.data, Told: func(told assign.Assignment) { a.view.Store(&told.View) }}
}

// instance is the id under which the group knows this instance again, "" if it has none.
func (a *App) instance() string {
	if a.cfg.Instance != "" {
		return a.cfg.Instance
	}
	return a.dir.instance
}

// data is what the instance says of itself when it joins: where it answers queries, and
// how far the states are that it has. A task whose owner has gone goes to who has the
// best copy of its state.
func (a *App) data() assign.Data {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := assign.Data{ClientID: a.cfg.Link.ClientID, Address: a.cfg.Address, Capacity: int32(len(a.workers))}
	for id, at := range a.dormant {
		if a.slots[id] == nil {
			d.Copies = append(d.Copies, assign.Copy{Task: assign.TaskID(id), Role: assign.Dormant, Position: at})
		}
	}
	for _, s := range a.tasks() {
		if len(s.sub.Stores) > 0 && (s.phase == restoring || s.phase == running) {
			d.Copies = append(d.Copies, assign.Copy{Task: assign.TaskID(s.id), Role: assign.Active, Position: s.logs.Load()})
		}
	}
	return d
}

// Hosts says where each task of the application runs, as the group's leader told it
// last: instances that have neither a fixed id nor an address are left out.
func (a *App) Hosts() []assign.Host {
	if v := a.view.Load(); v != nil {
		return v.Hosts
	}
	return nil
}

// noteLogs notes how far the task's stores are in their changelogs.
func (s *slot) noteLogs() {
	sum := int64(0)
	for _, o := range s.stores {
		sum += o.header.Position
	}
	s.logs.Store(sum)
}

// lies notes that a task's state is left on disk.
func (a *App) lies(s *slot) {
	if a.dir.path == "" || s.logs.Load() < 0 || len(s.sub.Stores) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dormant[s.id] = s.logs.Load()
}
