// SPDX-License-Identifier: Apache-2.0

package ktable

import (
	"fmt"
	"math"

	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/window"
)

// AggregateCount adds an aggregation of a grouped stream over windows of records, with
// a store of that name. It is what the methods of kstream.CountWindowed stand on.
//
// merge joins the results of pieces of a window, in order; it leaves them as they were.
// With it, and where windows overlap and only complete ones are sent on, the store has a
// result for each pane, as large as all windows can be put together from; a record then
// changes one of them. Without it there is a result for each window.
func AggregateCount[K, V, A any](in flow.Stream[K, V], op, name string, spec window.CountSpec, step Step[V, A], merge func([]A) A, options ...Option) *KTable[window.CountKey[K], A] {
	o := gather(options)
	what := fmt.Sprintf("store %q", name)
	keys, values := in.KeySerde(what), valuesOf[A](in.T, o, what)
	if o.retain != 0 {
		in.T.Graph().Fail(plan.Site(), "%s: a retention is for windows of time; a count window is kept until it is complete", what)
	}
	unit := int64(0)
	if merge != nil && o.emit == window.OnClose && spec.Step() < spec.Size() {
		unit = spec.Pane()
	}
	places, rows := countPlaces(keys), countRows(values, name, spec, unit)
	def := in.T.Graph().AddStore(&plan.Store{
		Name: name, Site: plan.Site(),
		Open: func(base state.Base, opt state.Options) state.Store {
			return state.OpenKeyValue(name, places, rows, base, opt)
		},
	})
	nullValue := in.NullValue()
	out := flow.ThenTry(in, op, name, func(env plan.Env, n *plan.Node, next flow.Next[window.CountKey[K], flow.Change[A]]) (flow.Next[K, V], error) {
		c := &counting[K, V, A]{
			env: env, node: n, nullKey: keys.IsNull, nullValue: nullValue,
			size: spec.Size(), every: spec.Step(), unit: unit, orAfter: spec.OrAfterMs(), step: step, merge: merge, emit: o.emit,
			store: env.Store(name).(*state.KeyValueStore[countPlace[K], countRow[A]]),
			next:  flow.Guard(env, n, next), due: math.MaxInt64,
		}
		c.finish = flow.Guard(env, n, c.finished)
		if o.emit == window.OnCommit {
			env.AtCommit(n, c.emitDirty)
		}
		if c.orAfter == 0 {
			return c.process, nil
		}
		return c.process, c.await(plan.NoTime)
	}, def)
	out.Keys = window.CountKeys(keys)
	return &KTable[window.CountKey[K], A]{changes: out, values: values, old: &oldNeed{}}
}

// A counting is an aggregation over count windows in one task.
//
// Windows of a key have numbers from 0, records too: window w begins with record
// w*every. What is kept are pieces, by number: a result for each window, or, with a
// unit, for each pane of that many records. Functions of the program are called before
// a record changes anything: one that fails leaves the state as it was.
type counting[K, V, A any] struct {
	env                        plan.Env
	node                       *plan.Node
	nullKey                    func(K) bool // nil where K has no null
	nullValue                  func(V) bool // nil where V has no null
	size, every, unit, orAfter int64
	step                       Step[V, A]
	merge                      func([]A) A
	emit                       window.EmitMode
	store                      *state.KeyValueStore[countPlace[K], countRow[A]]
	next                       flow.Next[window.CountKey[K], flow.Change[A]]
	finish                     flow.Next[window.CountKey[K], []A]
	changes                    []pieceChange[A] // of the record in hand
	due                        int64            // no timer is before it
	cancel                     func()           // of the punctuation at due; nil: there is none
}

// A pieceChange is what a record makes of a piece.
type pieceChange[A any] struct {
	number    int64
	row       countRow[A]
	old       opt.V[A]
	timestamp int64 // the highest of its records
}

func (c *counting[K, V, A]) process(r processor.Record[K, V]) error {
	if c.nullKey != nil && c.nullKey(r.Key) {
		c.env.Drop(c.node, "null key")
		return nil
	}
	if c.nullValue != nil && c.nullValue(r.Value) {
		c.env.Drop(c.node, "null value")
		return nil
	}
	now := c.env.StreamTime()
	if c.due <= now {
		if err := c.expire(now); err != nil {
			return err
		}
	}
	head, err := c.head(r.Key, now)
	if err != nil {
		return err
	}
	if err := c.take(r, head, now); err != nil {
		return err
	}
	if head.count%c.every == 0 {
		head.start = now
	}
	head.count++
	w := window.CountKey[K]{Key: r.Key, Index: head.oldest}
	full := head.count == w.Index*c.every+c.size
	var result opt.V[A]
	var timestamp int64
	if full {
		var pieces []A
		if pieces, w.Start, timestamp, err = c.pieces(r.Key, w.Index, head.count); err != nil {
			return err
		}
		result = c.join(pieces)
	}
	if err := c.write(r.Key, head, full, now); err != nil {
		return err
	}
	switch {
	case c.emit == window.OnUpdate:
		return c.update(r)
	case !full || !result.OK:
		return nil
	}
	return c.next(processor.Record[window.CountKey[K], flow.Change[A]]{
		Key: w, Value: flow.Change[A]{New: result}, Timestamp: timestamp, Headers: r.Headers,
	})
}

// head reads the head of a key, at the time now. One whose timer is due, and was not
// found, comes from a commit that was not finished.
func (c *counting[K, V, A]) head(key K, now int64) (countRow[A], error) {
	row, _, _, err := c.store.Get(countPlace[K]{kind: countHead, key: key})
	if err != nil || row.timer == 0 || row.timer > now {
		return row, err
	}
	if err := c.settle(key, now); err != nil {
		return row, err
	}
	row, _, _, err = c.store.Get(countPlace[K]{kind: countHead, key: key})
	return row, err
}

// take puts what r makes of its pieces into changes.
func (c *counting[K, V, A]) take(r processor.Record[K, V], head countRow[A], now int64) error {
	c.changes = c.changes[:0]
	first, last := head.oldest, head.count/c.every
	if c.unit > 0 {
		first = head.count / c.unit
		last = first
	}
	for number := first; number <= last; number++ {
		cell, err := c.store.Cell(countPlace[K]{kind: countPiece, at: number, key: r.Key})
		if err != nil {
			return err
		}
		ch := pieceChange[A]{number: number, row: cell.Value, old: cell.Value.value, timestamp: r.Timestamp}
		if cell.OK {
			ch.timestamp = max(ch.timestamp, cell.Timestamp)
		} else {
			ch.row.start = now
		}
		ch.row.value = c.step(ch.old, r.Value)
		c.changes = append(c.changes, ch)
	}
	return nil
}

// span gives the numbers of the pieces of a window, of a key with count records.
func (c *counting[K, V, A]) span(w, count int64) (first, last int64) {
	if c.unit == 0 {
		return w, w
	}
	return w * c.every / c.unit, (min(w*c.every+c.size, count) - 1) / c.unit
}

// pieces gives the results in the pieces of a window, as the record in hand leaves
// them, the stream time when the window began, and the highest timestamp in it.
func (c *counting[K, V, A]) pieces(key K, w, count int64) (values []A, start, timestamp int64, err error) {
	first, last := c.span(w, count)
	for number := first; number <= last; number++ {
		row, ts, ok, err := c.piece(key, number)
		if err != nil {
			return nil, 0, 0, err
		}
		if !ok { // the commit that wrote it was not finished
			continue
		}
		if number == first {
			start = row.start
		}
		timestamp = max(timestamp, ts)
		if row.value.OK {
			values = append(values, row.value.Value)
		}
	}
	return values, start, timestamp, nil
}

// piece reads a piece as the record in hand leaves it.
func (c *counting[K, V, A]) piece(key K, number int64) (row countRow[A], timestamp int64, ok bool, err error) {
	for _, ch := range c.changes {
		if ch.number == number {
			return ch.row, ch.timestamp, true, nil
		}
	}
	return c.store.Get(countPlace[K]{kind: countPiece, at: number, key: key})
}

// join makes one result of those of a window's pieces.
func (c *counting[K, V, A]) join(pieces []A) opt.V[A] {
	switch len(pieces) {
	case 0:
		return opt.None[A]()
	case 1:
		return opt.Some(pieces[0])
	}
	return opt.Some(c.merge(pieces))
}

// write stores the record in hand, and drops the oldest window if it is full.
func (c *counting[K, V, A]) write(key K, head countRow[A], full bool, now int64) error {
	for _, ch := range c.changes {
		if err := c.store.Put(countPlace[K]{kind: countPiece, at: ch.number, key: key}, ch.row, ch.timestamp); err != nil {
			return err
		}
	}
	if full {
		if err := c.drop(key, head.oldest, now); err != nil {
			return err
		}
		head.oldest++
	}
	if c.orAfter > 0 && head.timer == 0 {
		head.timer = now + c.orAfter
		if err := c.store.Put(countPlace[K]{kind: countTimer, at: head.timer, key: key}, countRow[A]{timer: head.timer}, now); err != nil {
			return err
		}
		if head.timer < c.due {
			c.wake(head.timer)
		}
	}
	return c.store.Put(countPlace[K]{kind: countHead, key: key}, head, now)
}

// drop removes the pieces that no window after w has.
func (c *counting[K, V, A]) drop(key K, w, now int64) error {
	first, end := w, w+1
	if c.unit > 0 {
		first, end = w*c.every/c.unit, (w+1)*c.every/c.unit
	}
	for number := first; number < end; number++ {
		if err := c.store.Delete(countPlace[K]{kind: countPiece, at: number, key: key}, now); err != nil {
			return err
		}
	}
	return nil
}

// update sends on what the record in hand has made of each window that it is in.
func (c *counting[K, V, A]) update(r processor.Record[K, V]) error {
	for _, ch := range c.changes {
		if !ch.old.OK && !ch.row.value.OK {
			continue
		}
		err := c.next(processor.Record[window.CountKey[K], flow.Change[A]]{
			Key:   window.CountKey[K]{Key: r.Key, Start: ch.row.start, Index: ch.number},
			Value: flow.Change[A]{Old: ch.old, New: ch.row.value}, Timestamp: ch.timestamp, Headers: r.Headers,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// finished sends on the result of a window whose time is over.
func (c *counting[K, V, A]) finished(r processor.Record[window.CountKey[K], []A]) error {
	result := c.join(r.Value)
	if !result.OK {
		return nil
	}
	return c.next(processor.Record[window.CountKey[K], flow.Change[A]]{
		Key: r.Key, Value: flow.Change[A]{New: result}, Timestamp: r.Timestamp,
	})
}

// emitDirty sends on the latest result of each window that the open layer has changed
// and that is not complete: what is complete was sent when it was.
func (c *counting[K, V, A]) emitDirty() error {
	return c.store.EachDirty(func(p countPlace[K], cell *state.Cell[countRow[A]]) error {
		if p.kind != countPiece || !cell.OK || !cell.Value.value.OK {
			return nil
		}
		return c.next(processor.Record[window.CountKey[K], flow.Change[A]]{
			Key:   window.CountKey[K]{Key: p.key, Start: cell.Value.start, Index: p.at},
			Value: flow.Change[A]{New: cell.Value.value}, Timestamp: cell.Timestamp,
		})
	})
}
