// SPDX-License-Identifier: Apache-2.0

package batchlink

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link"
)

const (
	batchBytes  = 1_000_012   // max.message.bytes
	flightBytes = 16 << 20    // of a lane, encoded and not acknowledged
	sendBytes   = 4 * 1 << 20 // of a request
)

// lane encodes into the batches that are sent; a goroutine of its own sends them, a
// request at a time, so that those of a partition keep their order.
type lane struct {
	c    *cluster
	wake chan struct{} // capacity 1

	mu     sync.Mutex
	room   *sync.Cond // less is under way, or the lane has ended
	sinks  map[*link.Dest]*sink
	ready  []item
	flight int64
	free   [][]byte
	err    error

	// Of the sender.
	producer int64
	epoch    int16
	sequence map[link.Partition]int32
}

// sink is what is open of a destination, by partition.
type sink struct {
	topic link.Topic
	open  []*batch
}

// item is a batch that is full, or a barrier.
type item struct {
	batch *batch
	done  func(error)
}

func (c *cluster) Lane() link.Lane {
	l := &lane{c: c, wake: make(chan struct{}, 1), sinks: map[*link.Dest]*sink{}, producer: -1, sequence: map[link.Partition]int32{}}
	l.room = sync.NewCond(&l.mu)
	c.wg.Go(l.run)
	return l
}

// Append implements link.Lane.
func (l *lane) Append(d *link.Dest, key, value []byte, timestamp int64, headers []plan.Header) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.flight > flightBytes && l.err == nil {
		l.room.Wait()
	}
	if l.err != nil {
		return l.err
	}
	s := l.sinks[d]
	if s == nil {
		l.mu.Unlock()
		t, err := l.c.topic(d.Topic)
		l.mu.Lock()
		if err != nil {
			return err
		}
		s = &sink{topic: t, open: make([]*batch, t.Partitions)}
		l.sinks[d] = s
	}
	num := d.Num
	if num == link.AnyPartition {
		num = link.PartitionFor(key, s.topic.Partitions)
	}
	b := s.open[num]
	if b != nil && len(b.buf)+link.RecordBytes(key, value, headers) > batchBytes {
		l.seal(s, num)
		l.poke()
		b = nil
	}
	if b == nil {
		b = &batch{dest: d, topic: d.Topic, id: s.topic.ID, num: num}
		if n := len(l.free); n > 0 {
			b.buf, l.free = l.free[n-1], l.free[:n-1]
		}
		s.open[num] = b
	}
	before := len(b.buf)
	b.add(key, value, timestamp, headers)
	l.flight += int64(len(b.buf) - before)
	return nil
}

func (l *lane) seal(s *sink, num int32) {
	l.ready = append(l.ready, item{batch: s.open[num]})
	s.open[num] = nil
}

func (l *lane) sealAll() {
	for _, s := range l.sinks {
		for num, b := range s.open {
			if b != nil {
				l.seal(s, int32(num))
			}
		}
	}
}

func (l *lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default: // it is awake already
	}
}

// Barrier implements link.Lane.
func (l *lane) Barrier(done func(error)) {
	l.mu.Lock()
	l.sealAll()
	l.ready = append(l.ready, item{done: done})
	l.mu.Unlock()
	l.poke()
}

// Close implements link.Lane.
func (l *lane) Close() { l.fail(link.ErrClosed) }

func (l *lane) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	l.room.Broadcast()
}

// run sends what is ready, and what has waited for the linger.
func (l *lane) run() {
	linger := time.NewTicker(max(l.c.cfg.Linger, time.Millisecond))
	defer linger.Stop()
	for {
		select {
		case <-l.wake:
		case <-linger.C:
			l.mu.Lock()
			l.sealAll()
			l.mu.Unlock()
		case <-l.c.ctx.Done():
			l.fail(link.ErrClosed)
			for l.step() { // tell those who wait at barriers
			}
			return
		}
		for l.step() {
		}
	}
}

// step sends a request or ends a barrier; false if there is nothing to do.
func (l *lane) step() bool {
	l.mu.Lock()
	if len(l.ready) == 0 {
		l.mu.Unlock()
		return false
	}
	err := l.err
	if done := l.ready[0].done; done != nil {
		l.ready = slices.Delete(l.ready, 0, 1)
		l.mu.Unlock()
		done(err)
		return true
	}
	// One batch of a partition a request, none from behind a barrier.
	var batches []*batch
	bytes := 0
	taken := map[link.Partition]bool{}
	for i := 0; i < len(l.ready) && l.ready[i].batch != nil; {
		b := l.ready[i].batch
		p := link.Partition{Topic: b.topic, Num: b.num}
		if taken[p] || bytes > sendBytes {
			taken[p] = true // those of a partition keep their order
			i++
			continue
		}
		taken[p] = true
		batches, bytes = append(batches, b), bytes+len(b.buf)
		l.ready = slices.Delete(l.ready, i, i+1)
	}
	l.mu.Unlock()
	if err == nil {
		err = l.send(batches)
	}
	if err != nil {
		l.fail(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range batches {
		l.flight -= int64(len(b.buf))
		l.free = append(l.free, b.buf[:0])
	}
	l.room.Broadcast()
	return true
}

func (l *lane) send(batches []*batch) error {
	if l.producer < 0 {
		req := kmsg.NewPtrInitProducerIDRequest()
		resp, err := req.RequestWith(l.c.ctx, l.c.client)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err != nil {
			return fmt.Errorf("ask for a producer id: %w", err)
		}
		l.producer, l.epoch = resp.ProducerID, resp.ProducerEpoch
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10_000
	by := map[link.Partition]*batch{}
	names := map[[16]byte]string{}
	topics := map[string]int{}
	for _, b := range batches {
		p := link.Partition{Topic: b.topic, Num: b.num}
		b.finish(l.producer, l.epoch, l.sequence[p])
		l.sequence[p] += b.records
		by[p], names[b.id] = b, b.topic
		i, ok := topics[b.topic]
		if !ok {
			i = len(req.Topics)
			topics[b.topic] = i
			rt := kmsg.NewProduceRequestTopic()
			rt.Topic, rt.TopicID = b.topic, b.id
			req.Topics = append(req.Topics, rt)
		}
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Partition, rp.Records = b.num, b.buf
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, rp)
	}
	kresp, err := l.c.request(l.c.ctx, req)
	if err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	for _, t := range kresp.(*kmsg.ProduceResponse).Topics {
		name := t.Topic
		if name == "" {
			name = names[t.TopicID]
		}
		for _, rp := range t.Partitions {
			b := by[link.Partition{Topic: name, Num: rp.Partition}]
			if err := kerr.ErrorForCode(rp.ErrorCode); err != nil || b == nil {
				return fmt.Errorf("produce to %s-%d: %w", name, rp.Partition, err)
			}
			b.dest.Acked(rp.BaseOffset + int64(b.records) - 1)
		}
	}
	return nil
}
