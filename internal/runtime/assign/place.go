// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"cmp"
	"slices"
)

// place chooses the tasks, by how many of each sub-topology each member gets: who
// has a task keeps it, within its number; what is left goes where the least of its
// state is missing.
func (p *problem) place(numbers [][]int) {
	for s := range p.subs {
		newPlacing(p, s, numbers[s]).run()
	}
}

// placing is the work on one sub-topology.
type placing struct {
	p     *problem
	sub   int
	tasks []task
	shed  []int // by member: how many of the tasks that it owns go
	leave []int // and how many of those that it is the home of
	room  []int // how many it gets from elsewhere
}

func newPlacing(p *problem, sub int, number []int) *placing {
	l := &placing{p: p, sub: sub, tasks: p.of(sub)}
	l.shed, l.leave, l.room = make([]int, len(number)), make([]int, len(number)), slices.Clone(number)
	for i := range l.tasks {
		switch t := &l.tasks[i]; {
		case t.owner >= 0:
			l.shed[t.owner]++
		case t.home >= 0:
			l.leave[t.home]++
		}
	}
	for m := range number { // first those that it has stay, then those it is home of
		kept := min(l.room[m], l.shed[m])
		l.room[m], l.shed[m] = l.room[m]-kept, l.shed[m]-kept
		kept = min(l.room[m], l.leave[m])
		l.room[m], l.leave[m] = l.room[m]-kept, l.leave[m]-kept
	}
	return l
}

func (l *placing) run() {
	l.toCopies()
	l.stay()
	l.rest()
}

// toCopies places tasks that may go at members that have room and a copy, the most
// complete copies first.
func (l *placing) toCopies() {
	type pair struct {
		task int
		at   holder
	}
	var pairs []pair
	for i := range l.tasks {
		t := &l.tasks[i]
		if !l.mayGo(t) {
			continue
		}
		for _, h := range t.copies {
			if h.member != t.owner && h.member != t.home && l.room[h.member] > 0 {
				pairs = append(pairs, pair{i, h})
			}
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.at.lag, b.at.lag), -cmp.Compare(a.at.role, b.at.role),
			cmp.Compare(a.task, b.task), cmp.Compare(a.at.member, b.at.member))
	})
	for _, c := range pairs {
		t := &l.tasks[c.task]
		if t.active < 0 && l.mayGo(t) && l.room[c.at.member] > 0 {
			l.take(t)
			l.give(t, c.at.member)
		}
	}
}

// mayGo says whether a task's owner or home still has to let one go.
func (l *placing) mayGo(t *task) bool {
	switch {
	case t.owner >= 0:
		return l.shed[t.owner] > 0
	case t.home >= 0:
		return l.leave[t.home] > 0
	}
	return true
}

// take counts a task off from those that its owner or home has to let go.
func (l *placing) take(t *task) {
	switch {
	case t.owner >= 0:
		l.shed[t.owner]--
	case t.home >= 0:
		l.leave[t.home]--
	}
}

func (l *placing) give(t *task, m int) {
	t.active = m
	l.room[m]--
}

// stay keeps tasks where they are, the lowest partitions first: the last ones go.
func (l *placing) stay() {
	for i := len(l.tasks) - 1; i >= 0; i-- {
		t := &l.tasks[i]
		if t.active >= 0 || t.owner < 0 && t.home < 0 {
			continue
		}
		if l.mayGo(t) {
			l.take(t)
		} else {
			t.active = max(t.owner, t.home)
		}
	}
}

// rest deals out what has no place yet, in turn: neighbours go to different members.
func (l *placing) rest() {
	members := l.p.subs[l.sub].members
	next := 0
	for i := range l.tasks {
		t := &l.tasks[i]
		for t.active < 0 {
			if m := members[next%len(members)]; l.room[m] > 0 {
				l.give(t, m)
			}
			next++
		}
	}
}
