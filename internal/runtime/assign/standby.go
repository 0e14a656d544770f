// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"cmp"
	"slices"
)

// standby chooses who keeps copies of stateful tasks: other members than the one
// that runs the task and than each other, of other racks if there are any (KIP-708),
// those that have a copy already before others, and no member more than its part.
func (p *problem) standby() {
	if p.cfg.Replicas <= 0 {
		return
	}
	s := &sparing{problem: p, load: make([]int, len(p.members)), part: make([]int, len(p.members))}
	total, capacity := 0, 0
	for i := range p.tasks {
		if p.subs[p.tasks[i].sub].Stateful {
			total += p.cfg.Replicas
		}
	}
	for m := range p.members {
		if p.members[m].Data.Standbys {
			capacity += p.capacity(m)
		}
	}
	if capacity == 0 {
		return
	}
	for m := range p.members {
		s.part[m] = (total*p.capacity(m) + capacity - 1) / capacity
	}
	for i := range p.tasks {
		t := &p.tasks[i]
		if !p.subs[t.sub].Stateful {
			continue
		}
		for range p.cfg.Replicas {
			m := s.choose(t)
			if m < 0 {
				break
			}
			t.spare = append(t.spare, m)
			s.load[m]++
		}
		slices.Sort(t.spare)
	}
}

type sparing struct {
	*problem
	load []int // copies dealt out so far
	part []int // how many each should have at most
}

// choose finds the member for one more copy of t, -1 if there is none.
func (s *sparing) choose(t *task) int {
	best := -1
	for _, m := range s.subs[t.sub].members {
		if !s.members[m].Data.Standbys || m == t.active || m == t.warmup || slices.Contains(t.spare, m) {
			continue
		}
		if best < 0 || s.compare(t, m, best) < 0 {
			best = m
		}
	}
	return best
}

func (s *sparing) compare(t *task, a, b int) int {
	full := func(m int) bool { return s.load[m] >= s.part[m] }
	return cmp.Or(
		boolCompare(full(a), full(b)),
		boolCompare(s.sameRack(t, a), s.sameRack(t, b)),
		-cmp.Compare(s.worth(t, a), s.worth(t, b)),
		cmp.Compare(s.load[a]*s.capacity(b), s.load[b]*s.capacity(a)),
		cmp.Compare(a, b),
	)
}

// worth is what a member has of the task already.
func (s *sparing) worth(t *task, m int) int {
	h, ok := t.copyAt(m)
	if !ok {
		return 0
	}
	if h.role == Dormant {
		return 1
	}
	return 2
}

// sameRack says whether m stands where the task, or a copy of it, is already.
func (s *sparing) sameRack(t *task, m int) bool {
	rack := s.members[m].Data.Rack
	if rack == "" {
		return false
	}
	same := func(o int) bool { return s.members[o].Data.Rack == rack }
	return same(t.active) || slices.ContainsFunc(t.spare, same)
}
