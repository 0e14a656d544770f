// SPDX-License-Identifier: Apache-2.0

package group

import (
	"cmp"
	"container/heap"
	"time"
)

// A timerKind says what a timer is for.
type timerKind uint8

const (
	timerSession timerKind = iota // a member, or a pending one, was not heard of
	timerJoin                     // the join phase of a group ends
	timerSync                     // the sync phase of a group ends
	timerExpiry                   // offsets of the partition are swept
	timerRevoke                   // a consumer has not confirmed that it let go of partitions
	timerRejoin                   // a classic member of a consumer group did not join again
	timerResync                   // a classic member of a consumer group did not sync
)

// A timerKey names a timer. There is at most one timer of a name.
type timerKey struct {
	kind   timerKind
	group  string
	member string
}

type timer struct {
	key  timerKey
	when time.Time
	at   int // index in the heap
}

// timers is a set of deadlines, ordered by time and then by key, so that what
// fires together fires in one order.
type timers struct {
	heap  timerHeap
	byKey map[timerKey]*timer
}

// set gives the timer of key a new deadline.
func (t *timers) set(key timerKey, when time.Time) {
	if old, ok := t.byKey[key]; ok {
		old.when = when
		heap.Fix(&t.heap, old.at)
		return
	}
	if t.byKey == nil {
		t.byKey = make(map[timerKey]*timer)
	}
	n := &timer{key: key, when: when}
	t.byKey[key] = n
	heap.Push(&t.heap, n)
}

// cancel removes the timer of key, if there is one.
func (t *timers) cancel(key timerKey) {
	if old, ok := t.byKey[key]; ok {
		delete(t.byKey, key)
		heap.Remove(&t.heap, old.at)
	}
}

// has reports whether the timer of key is set.
func (t *timers) has(key timerKey) bool { return t.byKey[key] != nil }

// due removes and returns the first timer whose deadline is not after now.
func (t *timers) due(now time.Time) (timerKey, bool) {
	if len(t.heap) == 0 || t.heap[0].when.After(now) {
		return timerKey{}, false
	}
	first := heap.Pop(&t.heap).(*timer)
	delete(t.byKey, first.key)
	return first.key, true
}

// next returns the first deadline, or the zero time if there is none.
func (t *timers) next() time.Time {
	if len(t.heap) == 0 {
		return time.Time{}
	}
	return t.heap[0].when
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }

func (h timerHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	if c := a.when.Compare(b.when); c != 0 {
		return c < 0
	}
	return cmp.Or(
		cmp.Compare(a.key.kind, b.key.kind),
		cmp.Compare(a.key.group, b.key.group),
		cmp.Compare(a.key.member, b.key.member),
	) < 0
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.at = len(*h)
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
