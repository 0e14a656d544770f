// SPDX-License-Identifier: Apache-2.0

package processor

import (
	"time"

	"github.com/millrace/millrace/internal/plan"
)

// A Context is what a low-level step sees of the engine, in one task: where its
// records came from, the task's time, and the way on to the steps behind it, which
// take Record[K, V]. It is used in the step's own functions only, never by another
// goroutine.
type Context[K, V any] struct {
	env     plan.Env
	node    *plan.Node
	forward func(Record[K, V]) error
}

// NewContext makes the context of a node, for the DSL packages of this module.
func NewContext[K, V any](env plan.Env, n *plan.Node, forward func(Record[K, V]) error) *Context[K, V] {
	return &Context[K, V]{env: env, node: n, forward: forward}
}

// Forward sends a record on to all steps behind this one, and returns when it is
// processed. The error, if any, ends the processing: the step returns it.
func (pc *Context[K, V]) Forward(r Record[K, V]) error {
	if err := pc.forward(r); err != nil {
		return err
	}
	return nil
}

// An Origin says where the record in hand was read.
type Origin struct {
	Topic     string
	Partition int32
	Offset    int64
	Headers   []Header // as they came; shared, never changed in place
}

// Origin is where the record in hand was read, false outside of a record, as in a
// punctuation.
func (pc *Context[K, V]) Origin() (Origin, bool) {
	c := pc.env.Current()
	if c.Raw == nil {
		return Origin{Partition: c.Partition}, false
	}
	return Origin{c.Topic, c.Partition, c.Raw.Offset, c.Raw.Headers}, true
}

// Partition is that of the task: of all its topics.
func (pc *Context[K, V]) Partition() int32 { return pc.env.Current().Partition }

// StreamTime is the highest time of the records that the task has seen, in ms since
// the Unix epoch, false before the first one. It outlives a restart.
func (pc *Context[K, V]) StreamTime() (ms int64, ok bool) {
	ms = pc.env.StreamTime()
	return ms, ms != plan.NoTime
}

// WallTime is the time of day in ms since the Unix epoch, at most a batch of records
// old. In a test it is turned by hand.
func (pc *Context[K, V]) WallTime() int64 { return pc.env.WallTime() }

// A Cancel ends a punctuation. It may be called in the punctuation itself, and twice.
type Cancel func()

// EveryStreamTime calls fn whenever stream time passes a multiple of every, with the
// stream time, after the record that moved it: first after the first record. Where
// time jumps over several multiples, fn is called once. A task that was restarted
// goes on with the grid where it was.
func (pc *Context[K, V]) EveryStreamTime(every time.Duration, fn func(at int64) error, options ...Anchor) Cancel {
	return pc.schedule(plan.Schedule{Every: every.Milliseconds(), Start: plan.NoTime}, fn, options)
}

// EveryWallTime calls fn each time that every has passed by the time of day, with the
// time, first after the first interval. Where a task comes too late for several of them
// fn is called once.
func (pc *Context[K, V]) EveryWallTime(every time.Duration, fn func(at int64) error, options ...Anchor) Cancel {
	return pc.schedule(plan.Schedule{Wall: true, Every: every.Milliseconds(), Start: plan.NoTime}, fn, options)
}

// An Anchor is where the grid of a punctuation begins (KIP-1146).
type Anchor struct{ at time.Time }

// StartingAt anchors the grid at a time: no call comes before it.
func StartingAt(start time.Time) Anchor { return Anchor{start} }

func (pc *Context[K, V]) schedule(s plan.Schedule, fn func(int64) error, options []Anchor) Cancel {
	for _, o := range options {
		s.Start = o.at.UnixMilli()
	}
	return pc.env.Schedule(pc.node, s, func(at int64) error {
		err := fn(at)
		if err != nil {
			_, err = pc.env.Failed(pc.node, plan.Processing, 0, err)
		}
		return err
	})
}

func (pc *Context[K, V]) scope() plan.Env { return pc.env }
