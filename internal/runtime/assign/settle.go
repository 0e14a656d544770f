// SPDX-License-Identifier: Apache-2.0

package assign

import "slices"

// settle makes the plan of this round. A task that moves is not assigned before its
// owner has released it: the owner sees that it is not among its partitions any
// more, releases it and joins again, which begins the round in which the new one
// gets it (KIP-429).
func (p *problem) settle() Plan {
	plan := Plan{Shares: make([]Share, len(p.members)), Warming: p.warming, Unserved: p.unserved}
	for m := range p.members {
		plan.Shares[m].ID = p.members[m].ID
		plan.Shares[m].Heard = MatchedHash(p.members[m].Data.Subs)
	}
	for i := range p.tasks {
		t := &p.tasks[i]
		mine := &plan.Shares[t.active]
		if p.free(t) {
			mine.Active = append(mine.Active, t.id)
			mine.Partitions = append(mine.Partitions, t.parts...)
		} else {
			plan.FollowUp = true
			p.hold(t, plan.Shares)
		}
		if t.warmup >= 0 {
			to := &plan.Shares[t.warmup]
			to.Warmup = append(to.Warmup, t.id)
		}
		for _, m := range t.spare {
			plan.Shares[m].Standby = append(plan.Shares[m].Standby, t.id)
		}
	}
	for i := range plan.Shares {
		s := &plan.Shares[i]
		slices.SortFunc(s.Partitions, Partition.compare)
		slices.SortFunc(s.Warmup, TaskID.compare)
	}
	plan.View = p.view(plan.Shares)
	return plan
}

// view says where everything is in this round. Members that neither answer queries
// nor come back under their name are of no use to anybody.
func (p *problem) view(shares []Share) View {
	var v View
	subs := p.subsByName()
	for m := range p.members {
		who := &p.members[m]
		if who.Instance == "" && who.Data.Address == "" {
			continue
		}
		h := Host{Instance: who.Instance, Address: who.Data.Address, Rack: who.Data.Rack, Active: shares[m].Active}
		copies := slices.Concat(shares[m].Standby, shares[m].Warmup)
		slices.SortFunc(copies, TaskID.compare)
		for _, id := range copies {
			r := Replica{Task: id, Lag: -1}
			n, _ := p.find(subs, id)
			if c, ok := p.tasks[n].copyAt(m); ok && c.lag < unknownLag {
				r.Lag = c.lag
			}
			h.Standby = append(h.Standby, r)
		}
		v.Hosts = append(v.Hosts, h)
	}
	return v
}

// free says whether nobody but the task's new place owns any of its partitions.
func (p *problem) free(t *task) bool {
	for _, part := range t.parts {
		for _, m := range p.claims[part] {
			if m != t.active {
				return false
			}
		}
	}
	return true
}

// hold keeps a task back. Its new place keeps what it owns of it alone, and a copy
// that it has; the others are told to release theirs.
func (p *problem) hold(t *task, shares []Share) {
	for _, part := range t.parts {
		claims := p.claims[part]
		if len(claims) == 1 && claims[0] == t.active {
			shares[t.active].Partitions = append(shares[t.active].Partitions, part)
			continue
		}
		for _, m := range claims {
			shares[m].Release = true
		}
	}
	if h, ok := t.copyAt(t.active); ok && h.role == Standby {
		shares[t.active].Warmup = append(shares[t.active].Warmup, t.id)
	}
}
