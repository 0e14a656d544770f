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
	unsure []ack // appended since the last barrier
}

type ack struct {
	dest   *link.Dest
	offset int64
}

func (k *conn) Lane() link.Lane { return &lane{k: k} }

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
		_, offset := c.append(d.Topic, d.Num, r)
		l.unsure = append(l.unsure, ack{d, offset})
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
	acks := slices.Clone(l.unsure)
	l.unsure = nil
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
		c.mu.Unlock()
		if err == nil {
			for _, a := range acks {
				a.dest.Acked(a.offset)
			}
		}
		done(l.fail(err))
	})
}

func (l *lane) Close() {
	l.k.c.mu.Lock()
	defer l.k.c.mu.Unlock()
	l.closed = true
	l.k.c.cond.Broadcast()
}
