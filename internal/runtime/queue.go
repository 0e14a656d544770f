// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"sync"

	"github.com/millrace/millrace/internal/runtime/link"
)

// A queue holds what was fetched for a task and not yet processed. The fetch loop
// never waits for it: an input that brings more than the limit is paused, and
// flows again when half of it is worked off.
type queue struct {
	flow  flow
	limit int64

	mu      sync.Mutex
	batches []link.Batch
	bytes   int64
	listed  bool // the worker knows that there is something
	paused  []link.Partition
	closed  bool
}

// flow is what a queue does to its inputs: the group member.
type flow interface {
	Pause(parts ...link.Partition)
	Resume(parts ...link.Partition)
}

// push adds a batch. first tells that the worker is to be told. Pause and Resume
// are called under the lock: in the order of what they answer to. They only take
// the client's short lock.
func (q *queue) push(b link.Batch) (first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.batches = append(q.batches, b)
	q.bytes += b.Bytes
	if q.bytes >= q.limit {
		q.paused = append(q.paused, b.Partition)
		q.flow.Pause(b.Partition)
	}
	first = !q.listed
	q.listed = true
	return first
}

// list says that the worker looks at the queue anyway.
func (q *queue) list() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.listed = true
}

// take gives the oldest batch. false means that there is none: the next push tells
// the worker again.
func (q *queue) take() (link.Batch, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.batches) == 0 {
		q.listed = false
		return link.Batch{}, false
	}
	b := q.batches[0]
	q.batches[0] = link.Batch{}
	q.batches = q.batches[1:]
	return b, true
}

// done says that a batch of n bytes is processed.
func (q *queue) done(n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= n
	if len(q.paused) > 0 && q.bytes <= q.limit/2 && !q.closed {
		q.flow.Resume(q.paused...)
		q.paused = q.paused[:0]
	}
}

// close drops what is in it and takes no more.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.batches = nil
}
