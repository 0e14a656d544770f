// SPDX-License-Identifier: Apache-2.0

package simtest

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seeds are those of a test: one if SEED is set, a few hundred else, thousands in the
// long form.
func seeds(t *testing.T, usual, long uint64) []uint64 {
	t.Helper()
	if s := os.Getenv("SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("SEED: %v", err)
		}
		return []uint64{n}
	}
	n := usual
	if os.Getenv("MILLRACE_LONG") != "" {
		n = long
	}
	if testing.Short() {
		n = max(usual/10, 1)
	}
	var all []uint64
	for s := range n {
		all = append(all, s+1)
	}
	return all
}

// replay runs a scenario twice, and fails if the traces differ or something was wrong.
func replay(t *testing.T, seed uint64, scenario func(w *world)) stats {
	t.Helper()
	w := newWorld(seed)
	scenario(w)
	if w.err != nil {
		if path := os.Getenv("TRACE"); path != "" {
			_ = os.WriteFile(path, w.trace.Bytes(), 0o644)
		}
		lines := bytes.Split(bytes.TrimSpace(w.trace.Bytes()), []byte("\n"))
		t.Fatalf("SEED=%d: %v\nthe end of its trace of %d lines:\n%s", seed, w.err, len(lines),
			bytes.Join(lines[max(0, len(lines)-60):], []byte("\n")))
	}
	again := newWorld(seed)
	scenario(again)
	if a, b := w.trace.Bytes(), again.trace.Bytes(); !bytes.Equal(a, b) {
		i := 0
		for i < min(len(a), len(b)) && a[i] == b[i] {
			i++
		}
		t.Fatalf("SEED=%d: two runs differ from byte %d of their traces on:\n%.300s\n\n%.300s", seed, i, a[max(0, i-100):], b[max(0, i-100):])
	}
	return w.stats
}

// upset is a run with everything: joins, leaves, kills, silence, outages, slow tasks,
// rolling upgrades, restarts of static members, each at any moment of a rebalance.
func upset(w *world) {
	w.feeding = true
	w.feed()
	old := w.chance(3) // the group begins with the older program
	version := 1
	if old {
		version = 0
	}
	for range w.between(1, 3) {
		w.newcomer(version)
	}
	for range w.between(4, 14) {
		w.run(w.between(10, 4_000), nil)
		w.mishap(version)
		if old && version == 0 && w.chance(5) {
			version = 1
		}
	}
	w.run(w.between(10, 2_000), nil)
	w.heal()
	w.settle("after the faults", 12)
	w.drained()
	w.checkResults()
}

// newcomer starts an instance, every other one a static member.
func (w *world) newcomer(version int) {
	name := fmt.Sprintf("i%d", w.born+1)
	instance := ""
	if w.chance(2) {
		instance = name
	}
	p := w.start(name, instance, version)
	if w.chance(4) {
		p.lag = w.between(50, 400)
		w.stats.slow++
	}
}

// mishap lets something happen.
func (w *world) mishap(version int) {
	living := w.living()
	if len(living) == 0 {
		w.newcomer(version)
		return
	}
	p := living[w.rng.IntN(len(living))]
	switch w.rng.IntN(10) {
	case 0, 1:
		if len(living) < 5 {
			w.newcomer(version)
		}
	case 2:
		if len(living) > 1 {
			p.leave(false)
		}
	case 3:
		p.kill()
		w.comesBack(p, p.version)
	case 4:
		w.say("%s is cut off", p.id)
		p.cut = w.now + w.between(1_000, 25_000)
	case 5:
		w.outage(w.between(500, 20_000))
	case 6:
		p.lag = w.between(0, 800)
		p.busyUntil = w.now + w.between(100, 14_000) // in one record
		w.stats.slow++
	case 7:
		w.restart(p, p.version)
	case 9:
		if len(w.matched) < 3 {
			w.create()
		}
	case 8:
		if p.version < version {
			w.restart(p, version)
			w.stats.upgrades++
		}
	}
}

// comesBack starts an instance anew after a while, mostly.
func (w *world) comesBack(p *process, version int) {
	if w.chance(4) {
		return
	}
	w.after(w.between(100, 15_000), func() {
		if !slices.ContainsFunc(w.procs, func(o *process) bool { return o.name == p.name }) {
			w.start(p.name, p.instance, version)
			if p.instance != "" {
				w.stats.restarts++
			}
		}
	})
}

// restart closes an instance and starts it again: a static one stays a member meanwhile.
func (w *world) restart(p *process, version int) {
	p.leave(p.instance != "")
	w.comesBack(p, version)
}

// heal ends all faults, and has all instances run the newest program.
func (w *world) heal() {
	w.say("no more faults")
	w.run(60_000, func() bool { return !w.away })
	for _, p := range w.living() {
		p.cut, p.lag = 0, 0
		if p.version == 0 {
			p.kill()
		}
	}
	w.run(16_000, nil) // those that come back have
	for _, p := range w.living() {
		if p.version == 0 {
			p.kill()
		}
	}
	if len(w.living()) == 0 {
		w.newcomer(1)
	}
	for _, p := range w.living() {
		p.lag = 0
	}
}

func TestAGroupThatIsUpset(t *testing.T) {
	var sum stats
	all := seeds(t, 200, 6_000)
	for _, seed := range all {
		sum.add(replay(t, seed, upset))
	}
	t.Logf("%d seeds: %+v", len(all), sum)
	if len(all) < 100 {
		return
	}
	for what, n := range map[string]int{
		"rebalances": sum.rebalances, "kills": sum.kills, "evictions": sum.evictions, "tasks dropped in a rebalance": sum.drops,
		"outages": sum.outages, "commits tried again": sum.retried, "upgrades": sum.upgrades, "restarts of static members": sum.restarts,
		"topics created": sum.created, "tasks that got an input": sum.grown,
		"records read again": int(sum.again), "slices of tasks that stay, in rebalances": int(sum.busy),
	} {
		if n == 0 {
			t.Errorf("no seed has any: %s", what)
		}
	}
}
