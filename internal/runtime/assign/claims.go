// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"cmp"
	"slices"
)

// claim finds each task's owner, the copies of its state, and, if nobody owns it,
// its home: who would have the least to do to take it.
func (p *problem) claim(last View) {
	p.claims = p.current()
	for i := range p.tasks {
		t := &p.tasks[i]
		t.owner = p.ownerOf(t)
	}
	p.findCopies()
	before := p.lastOwners(last)
	for i := range p.tasks {
		t := &p.tasks[i]
		if t.owner >= 0 {
			continue
		}
		best := unknownLag
		for _, h := range t.copies {
			if h.lag < best && p.subs[t.sub].can[h.member] {
				t.home, best = h.member, h.lag
			}
		}
		if m, ok := before[t.id]; ok && t.home < 0 && p.subs[t.sub].can[m] {
			t.home = m
		}
	}
}

// current gives the owners of each partition: normally one. A member that has
// missed rounds may still claim what was since given to another; the claim of the
// later generation counts alone (KIP-792). Where two of one generation claim, both
// count, and both must release it.
func (p *problem) current() map[Partition][]int {
	claims := map[Partition][]int{}
	for i, m := range p.members {
		for _, o := range m.Owned {
			have := claims[o]
			switch {
			case len(have) == 0 || p.members[have[0]].Generation == m.Generation:
				if !slices.Contains(have, i) {
					claims[o] = append(have, i)
				}
			case p.members[have[0]].Generation < m.Generation:
				claims[o] = []int{i}
			}
		}
	}
	return claims
}

// ownerOf is the member that owns most of a task's partitions and can run it.
func (p *problem) ownerOf(t *task) int {
	owner, most := -1, 0
	for _, part := range t.parts {
		for _, m := range p.claims[part] {
			if !p.subs[t.sub].can[m] {
				continue
			}
			n := 0
			for _, other := range t.parts {
				if slices.Contains(p.claims[other], m) {
					n++
				}
			}
			if n > most || n == most && m < owner {
				owner, most = m, n
			}
		}
	}
	return owner
}

// findCopies collects the copies of stateful tasks. That an owner has one is known
// even where it does not say so.
func (p *problem) findCopies() {
	subs := p.subsByName()
	type found struct {
		holder
		position int64
	}
	byTask := make([][]found, len(p.tasks))
	for i, m := range p.members {
		for _, c := range m.Data.Copies {
			n, ok := p.find(subs, c.Task)
			if !ok || !p.subs[p.tasks[n].sub].Stateful {
				continue
			}
			f := found{holder{member: i, role: min(c.Role, Active)}, max(c.Position, -1)}
			if f.role == Active && p.tasks[n].owner != i {
				f.role = Dormant // released by now
			}
			if k := len(byTask[n]); k > 0 && byTask[n][k-1].member == i {
				continue // said twice
			}
			byTask[n] = append(byTask[n], f)
		}
	}
	for n := range p.tasks {
		t := &p.tasks[n]
		if !p.subs[t.sub].Stateful {
			continue
		}
		var best int64
		for _, f := range byTask[n] {
			best = max(best, f.position)
		}
		silent := t.owner >= 0
		for _, f := range byTask[n] {
			f.lag = unknownLag
			if f.position >= 0 {
				f.lag = best - f.position
			}
			if f.member == t.owner {
				f.role, silent = Active, false
			}
			t.copies = append(t.copies, f.holder)
		}
		if silent {
			t.copies = append(t.copies, holder{member: t.owner, role: Active})
			slices.SortFunc(t.copies, func(a, b holder) int { return cmp.Compare(a.member, b.member) })
		}
	}
}

func (p *problem) subsByName() map[string]int {
	subs := map[string]int{}
	for i := range p.subs {
		subs[p.subs[i].Name] = i
	}
	return subs
}

func (p *problem) find(subs map[string]int, id TaskID) (int, bool) {
	s, ok := subs[id.Sub]
	if !ok || id.Partition < 0 || int(id.Partition) >= p.subs[s].end-p.subs[s].first {
		return 0, false
	}
	return p.subs[s].first + int(id.Partition), true
}

// lastOwners says which task was last at which static member.
func (p *problem) lastOwners(last View) map[TaskID]int {
	members := map[string]int{}
	for i, m := range p.members {
		if m.Instance != "" {
			members[m.Instance] = i
		}
	}
	before := map[TaskID]int{}
	for _, h := range last.Hosts {
		if i, ok := members[h.Instance]; ok {
			for _, t := range h.Active {
				before[t] = i
			}
		}
	}
	return before
}
