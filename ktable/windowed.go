// SPDX-License-Identifier: Apache-2.0

package ktable

import (
	"fmt"

	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/window"
)

// AggregateTime adds an aggregation of a grouped stream over time windows, with a
// store of that name. It is what the methods of kstream.TimeWindowed stand on. late, if
// not nil, gets the stream of the records that are too late for all their windows.
//
// It follows KStreamWindowAggregate of Kafka Streams: a window takes records until
// the highest timestamp that the operator has seen reaches its end plus grace; for
// sliding windows, KStreamSlidingWindowAggregate: until that has passed it.
func AggregateTime[K, V, A any](in flow.Stream[K, V], op, name string, spec window.TimeSpec, late func(flow.Stream[K, V]), step Step[V, A], options ...Option) *KTable[window.Key[K], A] {
	o := gather(options)
	what := fmt.Sprintf("store %q", name)
	keys, values := in.KeySerde(what), valuesOf[A](in.T, o, what)
	w := state.WindowOptions{Size: spec.SizeMs(), Retention: retention(in.T, o, spec.RetentionMs(), what)}
	def := in.T.Graph().AddStore(&plan.Store{
		Name: name, Site: plan.Site(),
		Open: func(base state.Base, opt state.Options) state.Store {
			return state.OpenWindow(name, keys, values, w, base, opt)
		},
	})
	out := flow.ThenAside(in, op, name, "late", late, func(env plan.Env, n *plan.Node, next flow.Next[window.Key[K], flow.Change[A]], late flow.Next[K, V]) flow.Next[K, V] {
		t := &timeAggregation[K, V, A]{
			env: env, node: n, nullKey: keys.IsNull, spec: spec, size: spec.SizeMs(), length: spec.LengthMs(), step: step, emit: o.emit,
			store: env.Store(name).(*state.WindowStore[K, A]), observed: env.Observed(n), next: next, late: late,
		}
		if o.emit == window.OnClose {
			t.closing = newClosing(env, name)
			env.AtTime(n, t.atTime)
		}
		if o.emit == window.OnCommit {
			env.AtCommit(n, t.emitDirty)
		}
		if spec.IsSliding() {
			return (&slidingAggregation[K, V, A]{timeAggregation: t, nullValue: in.NullValue()}).process
		}
		return t.process
	}, def)
	out.Keys = window.TimeKey(keys, spec.Size())
	return &KTable[window.Key[K], A]{
		changes: out, values: values, old: &oldNeed{}, stores: []*plan.Store{def},
		closes: &closes[window.Key[K]]{func(k window.Key[K]) int64 { return k.End }, spec.GraceMs()},
		rows: func(env plan.Env) Rows[window.Key[K], A] {
			store := env.Store(name).(*state.WindowStore[K, A])
			return func(k window.Key[K]) (opt.V[A], int64, error) {
				v, timestamp, ok, err := store.Get(k.Key, k.Start)
				return opt.V[A]{Value: v, OK: ok}, timestamp, err
			}
		},
	}
}

// A timeAggregation is an aggregation over time windows in one task.
type timeAggregation[K, V, A any] struct {
	env      plan.Env
	node     *plan.Node
	nullKey  func(K) bool // nil where K has no null
	spec     window.TimeSpec
	size     int64
	length   int64 // as window.TimeSpec has it
	step     Step[V, A]
	emit     window.EmitMode
	store    *state.WindowStore[K, A]
	observed *int64 // highest timestamp seen
	next     flow.Next[window.Key[K], flow.Change[A]]
	late     flow.Next[K, V] // nil: late records are dropped
	closing  closing
}

func (t *timeAggregation[K, V, A]) process(r processor.Record[K, V]) error {
	if t.nullKey != nil && t.nullKey(r.Key) {
		t.env.Drop(t.node, "null key")
		return nil
	}
	*t.observed = max(*t.observed, r.Timestamp)
	closed := *t.observed - t.spec.GraceMs() // windows that end up to here are closed
	if err := t.take(r, closed); err != nil {
		return err
	}
	if t.emit != window.OnClose {
		return nil
	}
	return t.emitClosed(r, closed)
}

// atTime closes windows while all inputs are idle.
func (t *timeAggregation[K, V, A]) atTime(streamTime int64) error {
	*t.observed = max(*t.observed, streamTime)
	return t.emitClosed(processor.Record[K, V]{}, *t.observed-t.spec.GraceMs())
}

// take takes r into its windows that are not closed.
func (t *timeAggregation[K, V, A]) take(r processor.Record[K, V], closed int64) error {
	first, last := t.spec.Starts(r.Timestamp)
	if t.late != nil && last+t.length <= closed {
		return t.late(r)
	}
	for start := first; start <= last; start += t.spec.AdvanceMs() {
		if start+t.length <= closed {
			t.env.Drop(t.node, "late")
			continue
		}
		if err := t.update(r, start); err != nil {
			return err
		}
	}
	return nil
}

// update takes r into the window that starts at start.
func (t *timeAggregation[K, V, A]) update(r processor.Record[K, V], start int64) error {
	t.store.Observe(start)
	c, err := t.store.Cell(r.Key, start)
	if err != nil {
		return err
	}
	old, ts := opt.V[A]{Value: c.Value, OK: c.OK}, r.Timestamp
	if old.OK {
		ts = max(ts, c.Timestamp)
	}
	now := t.step(old, r.Value)
	if now.OK {
		t.store.Set(c, now.Value, ts)
	} else {
		t.store.Unset(c, ts)
	}
	if t.emit != window.OnUpdate {
		return nil
	}
	return t.next(processor.Record[window.Key[K], flow.Change[A]]{
		Key: t.key(r.Key, start), Value: flow.Change[A]{Old: old, New: now}, Timestamp: ts, Headers: r.Headers,
	})
}

func (t *timeAggregation[K, V, A]) key(k K, start int64) window.Key[K] {
	return window.Key[K]{Key: k, Start: start, End: start + t.size}
}

// emitClosed sends on the windows that have closed: those that end up to closed, but
// for those that were sent on before.
func (t *timeAggregation[K, V, A]) emitClosed(r processor.Record[K, V], closed int64) error {
	before, ok := t.closing.look(closed)
	if !ok {
		return nil
	}
	from, to := int64(0), closed-t.length
	if before != plan.NoTime {
		from = max(from, before-t.length+1)
	}
	if to < from {
		return nil
	}
	sc := t.store.FetchAll(from, to, state.Forward)
	defer sc.Close() //nolint:errcheck // Err has told
	for sc.Next() {
		err := t.next(processor.Record[window.Key[K], flow.Change[A]]{
			Key: t.key(sc.Key(), sc.Start()), Value: flow.Change[A]{New: opt.Some(sc.Value())},
			Timestamp: sc.Timestamp(), Headers: r.Headers,
		})
		if err != nil {
			return err
		}
	}
	return sc.Err()
}

// emitDirty sends on the latest result of each window that the open layer has changed.
func (t *timeAggregation[K, V, A]) emitDirty() error {
	return t.store.EachDirty(func(key K, start int64, c *state.Cell[A]) error {
		return t.next(processor.Record[window.Key[K], flow.Change[A]]{
			Key: t.key(key, start), Value: flow.Change[A]{New: opt.V[A]{Value: c.Value, OK: c.OK}}, Timestamp: c.Timestamp,
		})
	})
}
