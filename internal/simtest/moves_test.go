// SPDX-License-Identifier: Apache-2.0

package simtest

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"testing"

	"github.com/millrace/millrace/internal/runtime"
)

// orderly is a run in which instances come and go one at a time, and in good order, or
// are killed: what must not move does not, and what stays is never stopped.
func orderly(w *world) {
	w.feeding = true
	w.feed()
	for range w.between(1, 3) {
		w.start(fmt.Sprintf("i%d", w.born+1), "", 1)
	}
	w.settle("at the start", 6)
	for range w.between(2, 6) {
		before := w.owners()
		living := w.living()
		var gone *process
		switch k := w.rng.IntN(5); {
		case k < 2 && len(living) < 5 || len(living) == 1:
			w.start(fmt.Sprintf("i%d", w.born+1), "", 1)
		case k == 4:
			gone = living[w.rng.IntN(len(living))]
			gone.kill()
		default:
			gone = living[w.rng.IntN(len(living))]
			gone.leave(false)
		}
		w.run(sessionTimeout+2_000, nil)
		w.settle("after one has come or gone", 4)
		if w.err == nil {
			w.checkMoves(before, gone)
		}
	}
	w.drained()
	w.checkResults()
}

// checkMoves holds that no task moved but those of an instance that went, or as few as
// balance needs when a new one comes, and that no other was stopped.
func (w *world) checkMoves(before map[runtime.TaskID]running, gone *process) {
	after := w.owners()
	owned := map[string]map[string]int{} // of those who are still there, by sub-topology
	moved, had := 0, 0
	for id, r := range before {
		now := after[id]
		if gone != nil && r.name == gone.name {
			continue
		}
		had++
		if owned[id.Sub] == nil {
			owned[id.Sub] = map[string]int{}
		}
		owned[id.Sub][r.name]++
		switch {
		case now.task == r.task:
		case now.name == r.name:
			w.fail("%v was stopped and started again at %s", id, r.name)
		case gone != nil:
			w.fail("%v moved from %s to %s without need", id, r.name, now.name)
		default:
			moved++
		}
	}
	if least := had - w.mostKept(owned); moved != least {
		w.fail("%d tasks moved, and %d would have balanced the group", moved, least)
	}
}

// mostKept tries all balanced ways to deal the tasks out and gives how many the
// instances can keep of what they own.
func (w *world) mostKept(owned map[string]map[string]int) int {
	var names []string
	for _, p := range w.living() {
		names = append(names, p.name)
	}
	n := map[string]int{}
	sum := 0
	for _, id := range w.tasks() {
		n[id.Sub]++
		sum++
	}
	subs := slices.Sorted(maps.Keys(n))
	loads := make([]int, len(names))
	best := 0
	var try func(s, kept int)
	try = func(s, kept int) {
		if s == len(subs) {
			if slices.Max(loads)-slices.Min(loads) <= 1 {
				best = max(best, kept)
			}
			return
		}
		floor, extra := n[subs[s]]/len(names), n[subs[s]]%len(names)
		for more := range 1 << len(names) {
			if bits.OnesCount(uint(more)) != extra {
				continue
			}
			keeps := kept
			for m := range names {
				a := floor + more>>m&1
				loads[m] += a
				keeps += min(a, owned[subs[s]][names[m]])
			}
			try(s+1, keeps)
			for m := range names {
				loads[m] -= floor + more>>m&1
			}
		}
	}
	try(0, 0)
	return best
}

func TestNothingMovesThatNeedNot(t *testing.T) {
	var sum stats
	all := seeds(t, 50, 1_500)
	for _, seed := range all {
		sum.add(replay(t, seed, orderly))
	}
	t.Logf("%d seeds: %+v", len(all), sum)
	if len(all) >= 50 && sum.busy == 0 {
		t.Error("no task that stays has processed anything in a rebalance")
	}
}

// rolling restarts static members one after the other, each within its session.
func rolling(w *world) {
	w.feeding = true
	w.feed()
	n := w.between(2, 4)
	for i := range n {
		name := fmt.Sprintf("i%d", i)
		w.start(name, name, 1)
	}
	w.settle("at the start", 8)
	before, generation := w.owners(), w.group.generation
	for _, p := range w.living() {
		clean := w.chance(2)
		if clean {
			p.leave(true)
		} else {
			p.kill()
		}
		w.run(4_000, func() bool { return !p.alive })
		w.run(w.between(10, sessionTimeout*6/10), nil)
		kept := w.owners()
		w.start(p.name, p.instance, 1)
		w.settle("after a restart", 0)
		if w.err != nil {
			return
		}
		now := w.owners()
		for id, r := range kept {
			if now[id].task != r.task {
				w.fail("%v of %s was stopped by the restart of %s", id, r.name, p.name)
			}
		}
	}
	after := w.owners()
	for id, r := range before {
		if after[id].name != r.name {
			w.fail("%v moved from %s to %s", id, r.name, after[id].name)
		}
	}
	if len(after) != len(before) || w.group.generation != generation {
		w.fail("%d tasks in generation %d, and there were %d in %d", len(after), w.group.generation, len(before), generation)
	}
	w.drained()
	w.checkResults()
}

func TestARollingRestartOfStaticMembersMovesNoTask(t *testing.T) {
	for _, seed := range seeds(t, 40, 1_000) {
		replay(t, seed, rolling)
	}
}
