// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"sync"
	"time"

	"github.com/millrace/millrace/internal/runtime/link"
)

// A queue holds what was fetched of an input and not yet given to its task.
type queue struct {
	pressure *pressure
	memory   *memory
	flow     flow
	input    link.Partition
	limit    int64

	mu      sync.Mutex
	batches []link.Batch
	bytes   int64
	full    bool // bytes have reached the limit: counted in pressure
	paused  bool
	closed  bool
}

// flow is what a queue does to its inputs: the group member.
type flow interface {
	Pause(parts ...link.Partition)
	Resume(parts ...link.Partition)
}

// push adds a batch, unless the queue is closed.
func (q *queue) push(b link.Batch) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.batches = append(q.batches, b)
	q.add(b.Bytes)
	return true
}

// take gives the oldest batch, false if there is none.
func (q *queue) take() (link.Batch, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.batches) == 0 {
		return link.Batch{}, false
	}
	b := q.batches[0]
	q.batches[0] = link.Batch{}
	q.batches = q.batches[1:]
	return b, true
}

// done says that a batch of n bytes is processed. Pause and Resume are called
// under the lock, in the order of what they answer to: they only take the
// client's short lock.
func (q *queue) done(n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(-n)
	if q.paused && q.bytes <= q.limit/2 && !q.closed {
		q.paused = false
		q.flow.Resume(q.input)
	}
}

// hold pauses the input of a queue that is full.
func (q *queue) hold() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.full || q.paused || q.closed {
		return
	}
	q.paused = true
	q.setFull(false) // it keeps nobody waiting now
	q.flow.Pause(q.input)
}

// empty tells whether nothing is in it, and whether its input is paused.
func (q *queue) empty() (empty, paused bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.batches) == 0, q.paused
}

// close drops what is in it and takes no more.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.batches = nil
	q.memory.queued.Add(-q.bytes)
	q.bytes = 0
	q.setFull(false)
}

func (q *queue) add(n int64) {
	if q.closed {
		return
	}
	q.bytes += n
	q.memory.queued.Add(n)
	q.setFull(q.bytes >= q.limit && !q.paused && !q.closed)
}

func (q *queue) setFull(full bool) {
	if full != q.full {
		q.full = full
		q.pressure.count(full)
	}
}

// patience is how long the fetch loop waits for full queues before it pauses their
// inputs and goes on with the others.
const patience = 50 * time.Millisecond

// pressure is how many queues are full. While any is, the fetch loop polls no
// more for a moment: whatever is behind in all its tasks is best slowed down so,
// since the client throws away what it has fetched of an input that is paused.
type pressure struct {
	mu   sync.Mutex
	full int
	wake chan struct{} // capacity 1: full went down to none
}

func newPressure() *pressure { return &pressure{wake: make(chan struct{}, 1)} }

func (p *pressure) count(full bool) {
	p.mu.Lock()
	if full {
		p.full++
	} else {
		p.full--
	}
	none := p.full == 0
	p.mu.Unlock()
	if none {
		signal(p.wake)
	}
}

func (p *pressure) any() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.full > 0
}

// ease waits until no queue is full. false: some still are.
func (p *pressure) ease(ctx context.Context) bool {
	if !p.any() {
		return true
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	for p.any() {
		select {
		case <-p.wake:
		case <-t.C:
			return false
		case <-ctx.Done():
			return true
		}
	}
	return true
}
