// SPDX-License-Identifier: Apache-2.0

package linktest

import (
	"bytes"
	"context"
	"slices"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link"
)

// lane appends at once and acknowledges at the barrier. Its fields are guarded by
// the cluster's lock.
type lane struct {
	k      *conn
	err    error
	closed bool
	unsure []ack // appended and not acknowledged
}

type ack struct {
	dest   *link.Dest
	at     link.Partition
	offset int64
}

func (k *conn) Lane() link.Lane {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	l := &lane{k: k}
	k.lanes = append(k.lanes, l)
	return l
}

// lose takes back what is not acknowledged, as far as nothing came after it. Under
// the lock.
func (l *lane) lose() {
	for _, a := range slices.Backward(l.unsure) {
		log := l.k.c.log(a.at)
		if n := len(log.recs); n > 0 && log.recs[n-1].Offset == a.offset && log.end == a.offset+1 {
			log.recs, log.end = log.recs[:n-1], a.offset
		}
	}
}

func (l *lane) Append(d *link.Dest, key, value []byte, timestamp int64, headers []plan.Header) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := l.k.c
	c.mu.Lock()
	for c.away && !l.closed && !l.k.closed && !l.k.killed {
		c.cond.Wait()
	}
	err := l.failure()
	c.mu.Unlock()
	if err != nil {
		return err
	}
	r := plan.Raw{Key: bytes.Clone(key), Value: bytes.Clone(value), Timestamp: timestamp, Headers: headers}
	err = l.k.do(ctx, "append", link.Partition{Topic: d.Topic, Num: d.Num}, func() {
		at, offset := c.append(d.Topic, d.Num, r)
		l.unsure = append(l.unsure, ack{d, at, offset})
	})
	return l.fail(err)
}

// failure is the lane's, or that of its link. Under the lock.
func (l *lane) failure() error {
	if l.err == nil && (l.closed || l.k.closed || l.k.killed) {
		return link.ErrClosed
	}
	return l.err
}

func (l *lane) fail(err error) error {
	l.k.c.mu.Lock()
	defer l.k.c.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	return err
}

func (l *lane) Barrier(done func(error)) {
	c := l.k.c
	c.mu.Lock()
	n := len(l.unsure)
	c.mu.Unlock()
	c.wg.Go(func() {
		c.mu.Lock()
		err := c.wait(context.Background(), l.k, func() bool { return !c.held || l.closed })
		fault := c.fault
		c.mu.Unlock()
		if err == nil && fault != nil {
			err = fault("ack", link.Partition{})
		}
		c.mu.Lock()
		if err == nil {
			err = l.failure()
		}
		if err == nil {
			for _, a := range l.unsure[:n] {
				a.dest.Acked(a.offset)
			}
			l.unsure = slices.Clone(l.unsure[n:])
		}
		c.mu.Unlock()
		done(l.fail(err))
	})
}

func (l *lane) Close() {
	l.k.c.mu.Lock()
	defer l.k.c.mu.Unlock()
	l.closed = true
	l.k.c.cond.Broadcast()
}
