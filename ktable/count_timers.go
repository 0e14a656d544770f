// SPDX-License-Identifier: Apache-2.0

package ktable

import (
	"math"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/window"
)

// A key with count windows that end in time has one timer, which is not after the end
// of its oldest open window, or, if all are complete, of the time of the youngest: then
// the key is forgotten. It is not moved when that window is full, but when it is due.

// timersAtOnce bounds how many due timers are in memory.
const timersAtOnce = 256

// expire completes the windows of all keys whose time is over, in the order of their
// timers.
func (c *counting[K, V, A]) expire(now int64) error {
	for {
		due, err := c.dueTimers(now)
		if err != nil {
			return err
		}
		for _, t := range due {
			if err := c.store.Delete(t, now); err != nil {
				return err
			}
			if err := c.settle(t.key, now); err != nil {
				return err
			}
		}
		if len(due) < timersAtOnce {
			return c.await(now)
		}
	}
}

// settle completes the windows of a key whose time is over, and sets its timer anew or
// forgets it.
func (c *counting[K, V, A]) settle(key K, now int64) error {
	c.changes = c.changes[:0] // of a record before
	head, _, ok, err := c.store.Get(countPlace[K]{kind: countHead, key: key})
	if err != nil || !ok {
		return err
	}
	var over []processor.Record[window.CountKey[K], []A]
	end := head.start + c.orAfter // of the youngest window
	for begun := (head.count + c.every - 1) / c.every; head.oldest < begun; head.oldest++ {
		values, start, timestamp, err := c.pieces(key, head.oldest, head.count)
		if err != nil {
			return err
		}
		if start+c.orAfter > now {
			end = start + c.orAfter
			break
		}
		over = append(over, processor.Record[window.CountKey[K], []A]{
			Key: window.CountKey[K]{Key: key, Start: start, Index: head.oldest}, Value: values, Timestamp: timestamp,
		})
		if err := c.drop(key, head.oldest, now); err != nil {
			return err
		}
	}
	if err := c.putHead(key, head, end, now); err != nil || c.emit == window.OnUpdate {
		return err
	}
	for _, r := range over {
		if err := c.finish(r); err != nil {
			return err
		}
	}
	return nil
}

// putHead stores a key's head with a timer at end, or forgets the key.
func (c *counting[K, V, A]) putHead(key K, head countRow[A], end, now int64) error {
	place := countPlace[K]{kind: countHead, key: key}
	if end <= now {
		return c.store.Delete(place, now)
	}
	head.timer = end
	if err := c.store.Put(countPlace[K]{kind: countTimer, at: end, key: key}, countRow[A]{timer: end}, now); err != nil {
		return err
	}
	if end < c.due {
		c.wake(end)
	}
	return c.store.Put(place, head, now)
}

// dueTimers gives timers up to now, the earliest first.
func (c *counting[K, V, A]) dueTimers(now int64) ([]countPlace[K], error) {
	var due []countPlace[K]
	err := c.scanTimers(0, now, func(p countPlace[K]) bool {
		due = append(due, p)
		return len(due) < timersAtOnce
	})
	return due, err
}

// await finds the first timer after now and asks to be woken then. It looks at ever
// longer spans: what the open layer has of a span is copied.
func (c *counting[K, V, A]) await(now int64) error {
	next := int64(math.MaxInt64)
	from, length := now+1, int64(1)
	if now == plan.NoTime {
		from, length = 0, c.orAfter+1 // at the start there is no open layer
	}
	for next == math.MaxInt64 {
		to := from + length - 1
		if length > c.orAfter { // the time may have been longer in another release
			to = math.MaxInt64
		}
		err := c.scanTimers(from, to, func(p countPlace[K]) bool {
			next = p.at
			return false
		})
		if err != nil {
			return err
		}
		if to == math.MaxInt64 {
			break
		}
		from, length = to+1, 2*length
	}
	c.wake(next)
	return nil
}

// scanTimers calls fn for the timers of [from, to], the earliest first, until it
// answers false.
func (c *counting[K, V, A]) scanTimers(from, to int64, fn func(countPlace[K]) bool) error {
	sc := c.store.Range(
		opt.Some(countPlace[K]{kind: countTimer, at: to, bare: true}),
		opt.Some(countPlace[K]{kind: countTimer, at: from - 1, bare: true}), state.Backward)
	defer sc.Close() //nolint:errcheck // Err has told
	for sc.Next() {
		if p := sc.Key(); p.at >= from && p.at <= to && !fn(p) {
			break
		}
	}
	return sc.Err()
}

// wake asks for a punctuation at a time.
func (c *counting[K, V, A]) wake(at int64) {
	c.due = at
	if c.cancel != nil {
		c.cancel()
		c.cancel = nil
	}
	if at < math.MaxInt64 {
		c.cancel = c.env.Schedule(c.node, plan.Schedule{Every: c.orAfter, Start: at}, c.expire)
	}
}
