// SPDX-License-Identifier: Apache-2.0

package simtest

import (
	"fmt"
	"slices"
	"testing"
)

// cutOff is a run in which an instance is cut off with a commit on its way. Another one
// takes its tasks over, commits more, and goes; the first one is back, alone, and has its
// partitions again at once. What it wanted to commit before must not be committed now.
func cutOff(w *world) {
	w.feeding = true
	w.feed()
	first := w.start("first", "", 1)
	w.settle("at the start", 4)
	if !w.run(60_000, func() bool { return first.inFlight != nil && first.inFlight.acked }) {
		w.fail("the first one commits nothing")
		return
	}
	first.cut = w.now + 1_000_000
	second := w.start("second", "", 1)
	before := w.at()
	if !w.run(sessionTimeout*4, func() bool { return w.beyond(before) }) {
		w.fail("nobody goes on with what the first one had: %v", w.at())
		return
	}
	second.leave(false)
	if !w.run(60_000, func() bool { return len(w.group.members) == 0 }) {
		w.fail("the group is not empty: %v", w.group.ids())
		return
	}
	first.cut = 0
	w.settle("when the first one is back", 6)
	w.drained()
	w.checkResults()
}

// at is what is committed of all inputs together.
func (w *world) at() int64 {
	var sum int64
	for p, pos := range w.offsets {
		if _, input := w.counts[p.Topic]; input {
			sum += pos.Offset
		}
	}
	return sum
}

// beyond tells whether much more is committed than there was.
func (w *world) beyond(at int64) bool { return w.at() > at+500 }

func TestAnInstanceThatWasCutOffCommitsNothingOld(t *testing.T) {
	for _, seed := range seeds(t, 40, 1_000) {
		replay(t, seed, cutOff)
	}
}

// together is a run in which two of several static members are away at once, and come back
// in a round that others have begun: each gets what it had. The leader stays, which knows
// what they had; one that is new to the group does not.
func together(w *world) {
	w.feeding = true
	w.feed()
	for i := range w.between(3, 5) {
		name := fmt.Sprintf("i%d", i)
		w.start(name, name, 1)
		w.settle("at the start", 10) // one after the other: nothing is dealt out in turn
	}
	before := w.owners()
	away := slices.DeleteFunc(w.living(), func(p *process) bool { return p.id == w.group.leader })
	w.rng.Shuffle(len(away), func(i, j int) { away[i], away[j] = away[j], away[i] })
	away = away[:2]
	for _, p := range away {
		p.kill()
	}
	w.run(w.between(10, 1_000), nil)
	w.group.prepare("somebody asks for it")
	for _, p := range away {
		w.run(w.between(1, 500), nil)
		w.start(p.name, p.instance, 1)
	}
	w.settle("when both are back", 6)
	after := w.owners()
	for id, r := range before {
		if now := after[id]; now.name != r.name {
			w.fail("%v moved from %s to %s", id, r.name, now.name)
		}
	}
	w.drained()
	w.checkResults()
}

func TestStaticMembersThatComeBackTogetherKeepTheirTasks(t *testing.T) {
	for _, seed := range seeds(t, 40, 1_000) {
		replay(t, seed, together)
	}
}
