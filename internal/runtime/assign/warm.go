// SPDX-License-Identifier: Apache-2.0

package assign

// warm keeps tasks with state where it is while their new place lacks it, and has
// it copied there (KIP-441). A task goes to a place that is not caught up only if no
// member is, or if the place cannot keep copies.
func (p *problem) warm() {
	if p.cfg.Warmups <= 0 {
		return
	}
	load := make([]int, len(p.members))
	for i := range p.tasks {
		load[p.tasks[i].active]++
	}
	var waiting []*task
	for i := range p.tasks {
		t := &p.tasks[i]
		aim := t.active
		if !p.subs[t.sub].Stateful || p.caughtUp(t, aim) || !p.members[aim].Data.Standbys {
			continue
		}
		stay := p.bestHolder(t, load)
		if stay < 0 {
			continue
		}
		load[aim]--
		load[stay]++
		t.active, t.warmup = stay, aim
		waiting = append(waiting, t)
	}
	p.warming = len(waiting) > 0
	p.limit(waiting)
}

// limit starts no more copies than allowed; those that have begun go on.
func (p *problem) limit(waiting []*task) {
	left := p.cfg.Warmups
	begun := func(t *task) bool {
		h, ok := t.copyAt(t.warmup)
		return ok && h.role == Standby
	}
	for _, t := range waiting {
		if begun(t) {
			left--
		}
	}
	for _, t := range waiting {
		switch {
		case begun(t):
		case left > 0:
			left--
		default:
			t.warmup = -1
		}
	}
}

func (p *problem) caughtUp(t *task, m int) bool {
	h, ok := t.copyAt(m)
	return ok && h.lag <= p.cfg.AcceptableLag
}

// bestHolder is the member that a task waits at: its owner if that is caught up, or
// the most complete copy, with the least load where they are equal. -1: nobody.
func (p *problem) bestHolder(t *task, load []int) int {
	if t.owner >= 0 && p.caughtUp(t, t.owner) {
		return t.owner
	}
	best, lag := -1, p.cfg.AcceptableLag+1
	for _, h := range t.copies {
		m := h.member
		if !p.subs[t.sub].can[m] || h.lag > lag || h.lag > p.cfg.AcceptableLag {
			continue
		}
		if best < 0 || h.lag < lag || load[m]*p.capacity(best) < load[best]*p.capacity(m) {
			best, lag = m, h.lag
		}
	}
	return best
}
