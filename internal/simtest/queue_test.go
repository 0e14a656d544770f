// SPDX-License-Identifier: Apache-2.0

package simtest

import (
	"bytes"
	"container/heap"
	"fmt"
	"math/rand/v2"
)

// A queue holds what is to happen, in virtual time. Events of one moment happen in the
// order in which they were put in.
type queue struct {
	now    int64 // ms since the start
	seq    int
	events events
	rng    *rand.Rand
	trace  bytes.Buffer // a line for each event that matters
}

type event struct {
	at  int64
	seq int
	do  func()
}

type events []event

func (e events) Len() int      { return len(e) }
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }

func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}

func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// after has something happen in so many ms.
func (q *queue) after(ms int64, do func()) {
	q.seq++
	heap.Push(&q.events, event{q.now + ms, q.seq, do})
}

// step lets the next event happen. false: there is none before the limit.
func (q *queue) step(limit int64) bool {
	if len(q.events) == 0 || q.events[0].at > limit {
		return false
	}
	e := heap.Pop(&q.events).(event)
	q.now = e.at
	e.do()
	return true
}

func (q *queue) say(format string, args ...any) {
	fmt.Fprintf(&q.trace, "%d ", q.now)
	fmt.Fprintf(&q.trace, format, args...)
	q.trace.WriteByte('\n')
}

// between draws from [lo, hi].
func (q *queue) between(lo, hi int64) int64 { return lo + q.rng.Int64N(hi-lo+1) }

// chance is true in one of n cases.
func (q *queue) chance(n int) bool { return q.rng.IntN(n) == 0 }
