// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millrace/millrace/internal/plan"
)

// creditBytes is how much of the link's budget a lane takes at a time.
const creditBytes = 64 << 10

// batchLane is a [Lane] that encodes what is appended straight into the batches that
// are sent. It is an idempotent producer (KIP-98) of its own: after its first failure
// nothing more is sent, so that no batch of it can come after one that is missing. A
// goroutine of the link's sends (see sender.go).
type batchLane struct {
	k      *Kafka
	wake   chan struct{} // capacity 1: there is something to send, or to end
	ctx    context.Context
	cancel context.CancelFunc

	flight *flight // of what is appended now, by the goroutine that appends

	failed atomic.Bool
	mu     sync.Mutex
	err    error // the first failure
	credit int64 // of the link's budget, for what is appended next
	box    *outbox
	asleep time.Time // until when the sender waits, zero: for a wake
}

// batchLane opens a lane.
func (k *Kafka) batchLane() *batchLane {
	l := &batchLane{k: k, wake: make(chan struct{}, 1), flight: newFlight(), box: newOutbox(k.wire.linger)}
	l.ctx, l.cancel = context.WithCancel(k.ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		l.Close()
		return l
	}
	k.lanes.Go(l.run)
	return l
}

// Append implements [Lane].
func (l *batchLane) Append(d *Dest, key, value []byte, timestamp int64, headers []plan.Header) error {
	if l.failed.Load() {
		return l.failure()
	}
	size := RecordBytes(key, value, headers)
	if d.lane != l {
		d.lane, d.led, d.piles = l, nil, nil
	}
	if d.Num == AnyPartition && d.led == nil {
		if err := l.describe(d); err != nil {
			return l.fail(fmt.Errorf("produce to %s: %w", d.Topic, err))
		}
	}
	l.mu.Lock()
	if l.credit < int64(size) {
		l.mu.Unlock()
		if err := l.fund(int64(size)); err != nil {
			return l.fail(err)
		}
		l.mu.Lock()
	}
	if l.err != nil {
		defer l.mu.Unlock()
		return l.err
	}
	l.credit -= int64(size)
	p := l.pile(d, l.partition(d, key, size))
	fits, poke := p.begun(size), false
	if !fits {
		due := l.box.begin(p, l.flight, time.Now())
		poke = l.asleep.IsZero() || due.Before(l.asleep) || len(p.sealed) > 0
	}
	p.add(d, size, key, value, timestamp, headers)
	l.mu.Unlock()
	if !fits && d.Num == AnyPartition {
		d.led = l.k.lead.of(d.Topic) // it may have more partitions
	}
	if poke {
		l.poke()
	}
	return nil
}

// partition is where a record of at most size bytes goes. Under the lock.
func (l *batchLane) partition(d *Dest, key []byte, size int) int32 {
	if d.Num != AnyPartition {
		return d.Num
	}
	n := int32(len(d.led.parts))
	switch {
	case key != nil:
		return PartitionFor(key, n)
	case d.sticky < n && l.pile(d, d.sticky).begun(size):
		return d.sticky
	}
	for range n { // KIP-480: another one with each batch, of those that can be written to
		if d.sticky = rand.Int32N(n); d.led.parts[d.sticky].node >= 0 {
			break
		}
	}
	return d.sticky
}

// describe asks for the partitions of a destination's topic. A new one may take a moment
// to be known.
func (l *batchLane) describe(d *Dest) error {
	for try := 1; ; try++ {
		led, err := l.k.lead.ask(l.ctx, d.Topic, nil, true)
		switch {
		case l.ctx.Err() != nil:
			return ErrClosed
		case err == nil && len(led.parts) > 0:
			d.led = led
			return nil
		case err != nil && !kerr.IsRetriable(err), isUnknown(err) && try > l.k.wire.unknown:
			return err
		}
		if wait(l.ctx, try) != nil {
			return ErrClosed
		}
	}
}

func isUnknown(err error) bool {
	return errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID)
}

// pile is a destination's of a partition. Under the lock.
func (l *batchLane) pile(d *Dest, num int32) *pile {
	i := 0
	if d.Num == AnyPartition {
		i = int(num)
	}
	for len(d.piles) <= i {
		d.piles = append(d.piles, nil)
	}
	if d.piles[i] == nil {
		d.piles[i] = l.box.pile(Partition{d.Topic, num}, int(l.k.wire.limit(d.Topic)))
	}
	return d.piles[i]
}

// fund takes more of the link's budget. While it waits, what was appended is sent.
func (l *batchLane) fund(size int64) error {
	l.refund()
	n := max(size, creditBytes)
	if !l.k.budget.try(n) {
		l.hurry(true)
		err := l.k.budget.take(n, l.ctx.Done())
		l.hurry(false)
		if err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.credit = n
	if l.err != nil { // while waiting
		l.credit = 0
		l.k.budget.give(n)
	}
	return l.err
}

// hurry says whether batches are sent before they are full or due.
func (l *batchLane) hurry(on bool) {
	l.mu.Lock()
	l.box.hurry = on
	l.mu.Unlock()
	if on {
		l.poke()
	}
}

// refund gives back what the lane has no use for now.
func (l *batchLane) refund() {
	l.mu.Lock()
	n := l.credit
	l.credit = 0
	l.mu.Unlock()
	l.k.budget.give(n)
}

// Barrier implements [Lane].
func (l *batchLane) Barrier(done func(error)) {
	l.refund()
	l.mu.Lock()
	some := l.box.sealAll()
	l.mu.Unlock()
	if some {
		l.poke()
	}
	f := l.flight
	l.flight = newFlight()
	f.seal(func() { done(l.failure()) })
}

// Close implements [Lane].
func (l *batchLane) Close() {
	_ = l.fail(ErrClosed)
	l.cancel()
}

// fail keeps the first failure, which it gives, and gives up what is not under way.
func (l *batchLane) fail(err error) error {
	l.mu.Lock()
	if l.err != nil {
		defer l.mu.Unlock()
		return l.err
	}
	l.err = err
	l.failed.Store(true)
	gone := l.box.drop()
	l.mu.Unlock()
	l.refund()
	l.release(gone)
	l.poke()
	return err
}

// release ends batches: for good or ill they are not under way any more.
func (l *batchLane) release(gone []*parcel) {
	for _, b := range gone {
		cost, f := b.cost, b.flight
		l.mu.Lock()
		if l.err == nil { // else the client may not be done with it
			l.box.recycle(b)
		}
		l.mu.Unlock()
		l.k.budget.give(cost)
		f.landed()
	}
}

func (l *batchLane) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *batchLane) poke() { signal(l.wake) }
