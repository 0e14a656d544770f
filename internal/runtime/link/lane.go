// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/plan"
)

// lane is a [Lane] over the client. Records and their bytes lie in slabs that are
// used again once all their records are acknowledged, so that appending allocates
// nothing in the long run.
type lane struct {
	client *kgo.Client
	budget *budget
	cur    *slab   // being filled; nil at the start and after a barrier
	flight *flight // of what is appended now

	closed chan struct{}
	once   sync.Once

	failed atomic.Bool
	mu     sync.Mutex
	err    error   // the first failure
	free   []*slab // to be used again
}

// Lane implements [Cluster].
func (k *Kafka) Lane() Lane {
	if k.batches {
		return k.batchLane()
	}
	return &lane{client: k.main, budget: k.budget, flight: newFlight(), closed: make(chan struct{})}
}

// Append implements [Lane].
func (l *lane) Append(d *Dest, key, value []byte, timestamp int64, headers []plan.Header) error {
	if l.failed.Load() {
		return l.failure()
	}
	size := len(key) + len(value)
	if l.cur == nil || !l.cur.fits(size) {
		if err := l.turn(size); err != nil {
			return err
		}
	}
	r := l.cur.add(key, value, headers)
	r.Topic, r.Partition = d.Topic, d.Num
	r.Timestamp = time.UnixMilli(timestamp)
	l.client.Produce(context.Background(), r, d.ack)
	return nil
}

// turn retires the slab in use and takes another, with room for size bytes.
func (l *lane) turn(size int) error {
	l.retire()
	if err := l.budget.take(slabCost(size), l.closed); err != nil {
		return err
	}
	if l.failed.Load() { // while waiting
		l.budget.give(slabCost(size))
		return l.failure()
	}
	l.mu.Lock()
	var s *slab
	if n := len(l.free); n > 0 && size <= slabBytes {
		s, l.free = l.free[n-1], l.free[:n-1]
	}
	l.mu.Unlock()
	if s == nil {
		s = newSlab(l, size)
	}
	s.left.Store(slabOpen)
	s.flight = l.flight
	l.flight.add()
	l.cur = s
	return nil
}

func (l *lane) retire() {
	if s := l.cur; s != nil {
		l.cur = nil
		s.release(slabOpen - int64(s.used))
	}
}

// Barrier implements [Lane].
func (l *lane) Barrier(done func(error)) {
	l.retire()
	f := l.flight
	l.flight = newFlight()
	f.seal(func() { done(l.failure()) })
}

// Close implements [Lane].
func (l *lane) Close() {
	l.once.Do(func() {
		l.fail(ErrClosed)
		close(l.closed)
	})
}

func (l *lane) fail(err error) {
	if errors.Is(err, kgo.ErrClientClosed) {
		err = ErrClosed
	}
	l.mu.Lock()
	if l.err == nil {
		l.err = err
	}
	l.mu.Unlock()
	l.failed.Store(true)
}

func (l *lane) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// A flight is what is appended between two barriers, counted in slabs or batches. Until it is
// sealed the owner holds one count itself.
type flight struct {
	left atomic.Int64
	done func()
}

func newFlight() *flight {
	f := &flight{}
	f.left.Store(1)
	return f
}

func (f *flight) add() { f.left.Add(1) }

func (f *flight) landed() {
	if f.left.Add(-1) == 0 {
		f.done()
	}
}

func (f *flight) seal(done func()) {
	f.done = done
	f.landed()
}

const (
	slabRecords = 256
	slabBytes   = 32 << 10
	slabRecord  = 176 // about the size of a kgo.Record
	slabOpen    = 1 << 32
)

// A slab holds records on their way. It is the context of each of them: the way
// from a promise back to its lane without a closure per record.
type slab struct {
	context.Context
	lane    *lane
	flight  *flight
	cost    int64
	used    int
	left    atomic.Int64 // not yet acknowledged; slabOpen more while it is being filled
	recs    [slabRecords]kgo.Record
	bytes   []byte
	headers []kgo.RecordHeader
}

func newSlab(l *lane, size int) *slab {
	return &slab{
		Context: context.Background(), lane: l, cost: slabCost(size),
		bytes: make([]byte, 0, max(size, slabBytes)),
	}
}

func slabCost(size int) int64 { return slabRecords*slabRecord + int64(max(size, slabBytes)) }

func (s *slab) fits(size int) bool {
	return s.used < slabRecords && size <= cap(s.bytes)-len(s.bytes)
}

func (s *slab) add(key, value []byte, headers []plan.Header) *kgo.Record {
	r := &s.recs[s.used]
	s.used++
	*r = kgo.Record{Key: s.copy(key), Value: s.copy(value), Context: s}
	if len(headers) > 0 {
		from := len(s.headers)
		for _, h := range headers {
			s.headers = append(s.headers, kgo.RecordHeader(h))
		}
		r.Headers = s.headers[from:len(s.headers):len(s.headers)]
	}
	return r
}

// copy takes b into the slab. Nil stays nil, and what is empty stays not nil.
func (s *slab) copy(b []byte) []byte {
	if b == nil {
		return nil
	}
	from := len(s.bytes)
	s.bytes = append(s.bytes, b...)
	return s.bytes[from:len(s.bytes):len(s.bytes)]
}

// release counts n records off. Who brings the count to nothing ends the slab.
func (s *slab) release(n int64) {
	if s.left.Add(-n) != 0 {
		return
	}
	f, l := s.flight, s.lane
	l.budget.give(s.cost)
	if cap(s.bytes) == slabBytes {
		s.used, s.bytes, s.flight = 0, s.bytes[:0], nil
		clear(s.headers)
		s.headers = s.headers[:0]
		l.mu.Lock()
		l.free = append(l.free, s)
		l.mu.Unlock()
	}
	f.landed()
}

// budget bounds the bytes on their way of all lanes of a link.
type budget struct {
	mu    sync.Mutex
	limit int64
	used  int64
	wake  chan struct{} // of those who wait, closed when room is made; nil if none does
	quit  chan struct{}
}

func newBudget(limit int64) *budget { return &budget{limit: limit, quit: make(chan struct{})} }

// take waits until n more bytes may be on their way. One taker may always go when
// nothing is: a record larger than the limit passes alone.
func (b *budget) take(n int64, closed <-chan struct{}) error {
	for {
		b.mu.Lock()
		if b.used == 0 || b.used+n <= b.limit {
			b.used += n
			b.mu.Unlock()
			return nil
		}
		if b.wake == nil {
			b.wake = make(chan struct{})
		}
		wake := b.wake
		b.mu.Unlock()
		select {
		case <-wake:
		case <-closed:
			return ErrClosed
		case <-b.quit:
			return ErrClosed
		}
	}
}

// try is take without waiting.
func (b *budget) try(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.limit {
		return false
	}
	b.used += n
	return true
}

func (b *budget) give(n int64) {
	b.mu.Lock()
	b.used -= n
	wake := b.wake
	b.wake = nil
	b.mu.Unlock()
	if wake != nil {
		close(wake)
	}
}

func (b *budget) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.quit:
	default:
		close(b.quit)
	}
}
