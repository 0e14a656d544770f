// SPDX-License-Identifier: Apache-2.0

package simtest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/assign"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/serde"
)

// A world is one run of the core simulation.
type world struct {
	queue
	programs []program // by version
	counts   map[string]int32
	matched  []string // topics that a pattern matches, in the order of their creation
	logs     map[assign.Partition]*[]plan.Raw
	offsets  map[assign.Partition]link.Position // committed
	group    *coordinator
	procs    []*process
	born     int
	away     bool // the broker is
	outages  int
	feeding  bool
	faults   bool // some happened that let records be read again

	truth   tally // what is to be counted
	most    tally // and how much at most, as things went
	reached map[assign.Partition]int64
	holders map[assign.Partition]*process
	stats   stats
	err     error
}

// stats are what happened, so that a test can tell that its faults bite.
type stats struct {
	rebalances, kills, evictions, drops, outages int
	again                                        int64 // records read again
	busy                                         int64 // slices that kept tasks ran during rebalances
	retried                                      int   // commits
	upgrades                                     int
	restarts                                     int // of static members
	slow                                         int
	created                                      int // topics that match a pattern
	grown                                        int // tasks that got an input while they ran
}

func (s *stats) add(o stats) {
	s.rebalances += o.rebalances
	s.kills += o.kills
	s.evictions += o.evictions
	s.drops += o.drops
	s.outages += o.outages
	s.again += o.again
	s.busy += o.busy
	s.retried += o.retried
	s.upgrades += o.upgrades
	s.restarts += o.restarts
	s.slow += o.slow
	s.created += o.created
	s.grown += o.grown
}

// A tally counts by sub-topology and key.
type tally map[string]map[string]int64

func (t tally) add(sub, key string, n int64) {
	if t[sub] == nil {
		t[sub] = map[string]int64{}
	}
	t[sub][key] += n
}

func newWorld(seed uint64) *world {
	w := &world{
		counts: map[string]int32{}, logs: map[assign.Partition]*[]plan.Raw{},
		offsets: map[assign.Partition]link.Position{},
		truth:   tally{}, most: tally{}, reached: map[assign.Partition]int64{},
		holders: map[assign.Partition]*process{},
	}
	w.rng = rand.New(rand.NewPCG(seed, 5))
	w.programs = []program{newProgram(false), newProgram(true)}
	for _, t := range []string{"left", "right", "solo", "pass"} {
		w.counts[t] = int32(w.between(1, 7))
	}
	w.group = newCoordinator(w)
	return w
}

// fail notes the first thing that is wrong.
func (w *world) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("at %d ms: "+format, append([]any{w.now}, args...)...)
		w.say("WRONG: %v", w.err)
	}
}

func (w *world) log(p assign.Partition) *[]plan.Raw {
	if w.logs[p] == nil {
		w.logs[p] = &[]plan.Raw{}
	}
	return w.logs[p]
}

func (w *world) append(p assign.Partition, r plan.Raw) {
	l := w.log(p)
	r.Offset = int64(len(*l))
	*l = append(*l, r)
}

// feed appends records to the inputs now and then, for as long as feeding is set.
func (w *world) feed() {
	w.after(w.between(20, 60), w.feed)
	if !w.feeding {
		return
	}
	for range w.between(1, 12) {
		topics := slices.Sorted(maps.Keys(w.counts))
		p := assign.Partition{Topic: topics[w.rng.IntN(len(topics))]}
		p.Num = int32(w.rng.IntN(int(w.counts[p.Topic])))
		key := fmt.Sprintf("%d.%d", p.Num, w.rng.IntN(4))
		w.append(p, plan.Raw{Key: []byte(key), Value: []byte("v"), Timestamp: w.now})
		w.truth.add(subOf(p.Topic), key, 1)
	}
}

func subOf(topic string) string {
	switch {
	case topic == "right":
		return "left"
	case strings.HasPrefix(topic, "pass-"):
		return "pass"
	}
	return topic
}

// create makes a topic that matches the pattern of the newer program. Each instance sees
// it at a time of its own.
func (w *world) create() {
	topic := fmt.Sprintf("pass-%d", len(w.matched))
	w.matched = append(w.matched, topic)
	w.counts[topic] = int32(w.between(1, 8))
	w.stats.created++
	w.say("topic %s is created, with %d partitions", topic, w.counts[topic])
	for _, p := range w.living() {
		w.after(w.between(10, 10_000), func() { p.see(topic) })
	}
}

// outage takes the broker away for a while: what was sent waits, answers are lost.
func (w *world) outage(ms int64) {
	if w.away {
		return
	}
	w.away = true
	w.outages++
	w.stats.outages++
	w.say("the broker is away")
	w.after(ms, func() {
		w.away = false
		w.say("the broker is back")
		w.group.back()
	})
}

// living are the instances that run.
func (w *world) living() []*process {
	return slices.DeleteFunc(slices.Clone(w.procs), func(p *process) bool { return !p.alive })
}

// run lets so much time pass, or ends early when ok holds.
func (w *world) run(ms int64, ok func() bool) bool {
	limit := w.now + ms
	for w.err == nil {
		if ok != nil && ok() {
			return true
		}
		if !w.step(limit) {
			w.now = limit
			break
		}
	}
	return ok != nil && ok()
}

// calm says that nobody waits for anybody, and that each task runs.
func (w *world) calm() bool {
	if w.away || w.group.state != "stable" {
		return false
	}
	running := map[runtime.TaskID]bool{}
	for _, id := range w.group.ids() {
		if !slices.ContainsFunc(w.procs, func(p *process) bool { return p.alive && p.id == id }) {
			return false
		}
	}
	for _, p := range w.living() {
		if p.joining || p.settling || p.owed || p.leaving || p.generation != w.group.generation || len(p.matched) < len(w.matched) {
			return false
		}
		for id, t := range p.tasks {
			if t.phase == taskRuns {
				running[id] = true
			}
		}
	}
	for _, id := range w.tasks() {
		if !running[id] {
			return false
		}
	}
	return true
}

// tasks lists those that there are when all run the newest program.
func (w *world) tasks() []runtime.TaskID {
	var ids []runtime.TaskID
	for _, s := range w.served() {
		var n int32
		topics := s.Topics
		if len(s.Patterns) > 0 {
			topics = slices.Concat(topics, w.matched)
		}
		for _, t := range topics {
			n = max(n, w.counts[t])
		}
		for num := range n {
			ids = append(ids, runtime.TaskID{Sub: s.Name, Partition: num})
		}
	}
	return ids
}

// served are the sub-topologies that some instance runs.
func (w *world) served() []assign.Sub {
	newest := 0
	for _, p := range w.living() {
		newest = max(newest, p.version)
	}
	return w.programs[newest].subs
}

// settle waits until all is calm and stays so, and checks what must hold then.
func (w *world) settle(what string, rounds int32) {
	began := w.group.generation
	if !w.run(180_000, w.calm) {
		w.fail("%s: the group has not come to rest: %s, generation %d of %v", what, w.group.state, w.group.generation, w.group.ids())
		return
	}
	before := w.group.generation
	w.run(3_000, nil)
	if w.group.generation != before {
		w.fail("%s: the group is calm and is balanced again", what)
	}
	if n := w.group.generation - began; n > rounds {
		w.fail("%s: %d generations to come to rest, more than %d", what, n, rounds)
	}
	w.checkBalance(what)
}

// drained waits until all input is committed.
func (w *world) drained() {
	w.feeding = false
	done := func() bool {
		for p, l := range w.logs {
			if _, input := w.counts[p.Topic]; input && len(*l) > 0 && w.offsets[p].Offset != int64(len(*l)) {
				return false
			}
		}
		return true
	}
	if !w.run(120_000, done) {
		w.fail("not all input is committed two minutes later")
	}
}

// results folds the changelogs, and counts the output.
func (w *world) results() tally {
	got := tally{}
	parts := slices.SortedFunc(maps.Keys(w.logs), comparePartitions)
	for _, p := range parts {
		switch p.Topic {
		case changelogOf("left"), changelogOf("solo"):
			last := map[string]int64{}
			for _, r := range *w.logs[p] {
				n, err := serde.Int64.Decode(r.Value)
				if err != nil {
					w.fail("changelog %v: %v", p, err)
				}
				last[string(r.Key)] = n
			}
			for k, n := range last {
				got.add(p.Topic[len("app-"):len(p.Topic)-len("-changelog")], k, n)
			}
		case "out":
			for _, r := range *w.logs[p] {
				got.add("pass", string(r.Key), 1)
			}
		}
	}
	return got
}

func comparePartitions(a, b assign.Partition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Num, b.Num))
}

// checkResults holds the results against the truth, and against what was read again.
func (w *world) checkResults() {
	got := w.results()
	var errs []error
	for _, sub := range slices.Sorted(maps.Keys(w.truth)) {
		for _, key := range slices.Sorted(maps.Keys(w.truth[sub])) {
			n, want, most := got[sub][key], w.truth[sub][key], w.truth[sub][key]+w.most[sub][key]
			if n < want || n > most {
				errs = append(errs, fmt.Errorf("%s of %q is %d, and must be from %d to %d", sub, key, n, want, most))
			}
		}
		if n := len(got[sub]); n > len(w.truth[sub]) {
			errs = append(errs, fmt.Errorf("%s has %d keys of %d", sub, n, len(w.truth[sub])))
		}
	}
	if len(errs) > 0 {
		w.fail("%v", errors.Join(errs...))
	}
	if !w.faults && w.stats.again > 0 {
		w.fail("%d records are read again, though no instance has failed", w.stats.again)
	}
}

// owners says who runs each task, and which start of it that is.
func (w *world) owners() map[runtime.TaskID]running {
	by := map[runtime.TaskID]running{}
	for _, p := range w.living() {
		for id, t := range p.tasks {
			if t.phase == taskRuns {
				by[id] = running{p.name, t}
			}
		}
	}
	return by
}

type running struct {
	name string
	task *task
}

// checkBalance holds the tasks of each sub-topology, and all together, to differ by at
// most one between the instances that run it.
func (w *world) checkBalance(what string) {
	if w.err != nil {
		return
	}
	all := map[string]int{}
	check := func(of string, names []string, n map[string]int) {
		lo, hi := 1<<30, 0
		for _, name := range names {
			lo, hi = min(lo, n[name]), max(hi, n[name])
		}
		if hi-lo > 1 {
			w.fail("%s: %s are out of balance: %v", what, of, n)
		}
	}
	alike := true
	for _, s := range w.served() {
		n := map[string]int{}
		var names []string
		for _, p := range w.living() {
			if !p.runs(s.Name) {
				alike = false
				continue
			}
			names = append(names, p.name)
		}
		for id, r := range w.owners() {
			if id.Sub == s.Name {
				n[r.name]++
				all[r.name]++
			}
		}
		check("the tasks of "+s.Name, names, n)
	}
	var names []string
	for _, p := range w.living() {
		names = append(names, p.name)
	}
	if alike {
		check("the tasks", names, all)
	}
}
