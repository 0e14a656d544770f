// SPDX-License-Identifier: Apache-2.0

package link

import (
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// walk is a member's life in random steps: what the goroutines of a [fetcher] do, in
// any order, and a cluster of two brokers with two topics of two partitions.
type walk struct {
	t   *testing.T
	rnd *rand.Rand
	s   *cursors

	leads  map[Partition]leader
	awake  map[way]bool
	jobs   []job    // under way
	asking []string // topics of which the leaders are being asked for
	owned  map[Partition]bool
	begun  map[Partition]bool
}

var walked = []Partition{{"t", 0}, {"t", 1}, {"u", 0}, {"u", 1}}

func newWalk(t *testing.T, seed uint64) *walk {
	w := &walk{
		t: t, rnd: rand.New(rand.NewPCG(seed, 1)), s: newCursors(1000),
		leads: map[Partition]leader{}, awake: map[way]bool{},
		owned: map[Partition]bool{}, begun: map[Partition]bool{},
	}
	for i, p := range walked {
		w.leads[p] = leader{int32(i % 2), 1}
	}
	return w
}

// did is what a fetcher does after something has happened.
func (w *walk) did() {
	w.asking = append(w.asking, w.s.asks()...)
	for node := range w.s.touched {
		w.awake[way{node: node}], w.awake[way{node: node, second: true}] = true, true
	}
	clear(w.s.touched)
}

// ways tells which ways have no request under way.
func (w *walk) ways() []way {
	var free []way
	for _, v := range []way{{0, false}, {0, true}, {1, false}, {1, true}} {
		taken := false
		for i := range w.jobs {
			taken = taken || w.jobs[i].way == v
		}
		if !taken {
			free = append(free, v)
		}
	}
	return free
}

// pull is a turn of a way's goroutine.
func (w *walk) pull(v way) {
	j := w.s.next(v)
	w.awake[v] = false
	if j.what == nothing {
		return
	}
	w.jobs = append(w.jobs, j)
	if j.what == fetching && !v.second {
		w.awake[way{node: v.node, second: true}] = true
	}
}

// one picks some of the partitions.
func (w *walk) one() []Partition { return []Partition{walked[w.rnd.IntN(len(walked))]} }

// answer ends a job.
func (w *walk) answer() {
	at := w.rnd.IntN(len(w.jobs))
	j := w.jobs[at]
	w.jobs = append(w.jobs[:at], w.jobs[at+1:]...)
	w.awake[j.way] = true
	if w.rnd.IntN(10) == 0 {
		w.s.done(&j, nil)
		return
	}
	answers := make([]*answer, len(j.items))
	for i, it := range j.items {
		switch n := w.rnd.IntN(20); {
		case w.leads[it.part].node != j.way.node:
			answers[i] = refusal(kerr.NotLeaderForPartition)
		case n == 0:
			answers[i] = refusal(kerr.OffsetOutOfRange)
		case n == 1: // left out
		case j.what == listing:
			answers[i] = &answer{offset: 10, epoch: 1}
		case j.what == checking:
			answers[i] = &answer{offset: it.offset - int64(w.rnd.IntN(2)), epoch: 1}
		case n < 8:
			answers[i] = empty(it.offset)
		case n < 10: // markers alone
			answers[i] = brought(it.offset, it.offset+1)
			answers[i].Records = nil
		default:
			answers[i] = brought(it.offset, it.offset+1+int64(w.rnd.IntN(5)))
		}
	}
	w.s.done(&j, answers)
}

// told ends a question for leaders, as [fetcher.ask] does.
func (w *walk) told() {
	at := w.rnd.IntN(len(w.asking))
	topic := w.asking[at]
	if _, _, ok := w.s.wants(topic, nil); !ok {
		w.asking = append(w.asking[:at], w.asking[at+1:]...)
		return
	}
	if w.rnd.IntN(5) == 0 {
		w.s.unled(topic, kerr.LeaderNotAvailable, false)
		return
	}
	id := byte(1)
	if topic == "u" {
		id = 2
	}
	w.s.leads(topic, &led{id: [16]byte{id}, parts: []leader{w.leads[Partition{topic, 0}], w.leads[Partition{topic, 1}]}})
}

// step lets one thing happen.
func (w *walk) step() {
	p := w.one()
	switch n := w.rnd.IntN(100); {
	case n < 3 && !w.owned[p[0]]:
		w.s.assign(p)
		w.owned[p[0]], w.begun[p[0]] = true, false
	case n < 4 && w.owned[p[0]]:
		w.s.drop(p)
		w.owned[p[0]] = false
	case n < 8 && w.owned[p[0]] && !w.begun[p[0]]:
		w.s.begin(p[0], []origin{known, atStart, atEnd, atTime}[w.rnd.IntN(4)], 5, 7, int32(w.rnd.IntN(3)-1))
		w.begun[p[0]] = true
	case n < 14:
		w.s.pause(p)
	case n < 24:
		w.s.resume(p)
	case n < 26:
		w.s.seek(map[Partition]int64{p[0]: int64(w.rnd.IntN(20))})
	case n < 28:
		l := w.leads[p[0]]
		w.leads[p[0]] = leader{1 - l.node, l.epoch + 1}
	case n < 40:
		w.s.take()
	case n < 60 && len(w.jobs) > 0:
		w.answer()
	case n < 70 && len(w.asking) > 0:
		w.told()
	default:
		if free := w.ways(); len(free) > 0 {
			if v := free[w.rnd.IntN(len(free))]; w.awake[v] {
				w.pull(v)
			}
		}
	}
	w.did()
}

// check fails if there is something to do that nobody does.
func (w *walk) check() {
	for _, v := range w.ways() {
		if w.awake[v] {
			continue
		}
		if j := w.s.next(v); j.what != nothing {
			w.t.Fatalf("%v sleeps and has this to ask: %v", v, j.asked())
		}
	}
	if ready := w.s.pollable(); !ready {
		for _, c := range w.s.order {
			if c.flows() {
				w.t.Fatalf("%v has something ahead that is not polled", c.part)
			}
		}
	}
	for _, c := range w.s.order {
		under := false
		for i := range w.jobs {
			for _, it := range w.jobs[i].items {
				under = under || it.part == c.part && it.term == c.term
			}
		}
		if c.busy != under {
			w.t.Fatalf("%v is busy: %t, in a request: %t", c.part, c.busy, under)
		}
		if c.lost && !c.failed && !w.s.asking[c.part.Topic] {
			w.t.Fatalf("nobody asks for the leader of %v", c.part)
		}
	}
}

func TestNoWaySleepsWhileItHasSomethingToAsk(t *testing.T) {
	for seed := range uint64(200) {
		w := newWalk(t, seed)
		for range 2000 {
			w.step()
			w.check()
		}
	}
}
