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

// AggregateSession adds an aggregation of a grouped stream over sessions, with a
// store of that name. What init gives is joined by merge with the results of the
// sessions that a record touches, the earlier first, and then stepped.
// It is what the methods of kstream.SessionWindowed stand on. late, if not nil, gets the
// stream of the records that are too late for a session.
//
// It follows KStreamSessionWindowAggregate of Kafka Streams: a session takes
// records until the highest timestamp that the operator has seen passes its last
// record by gap plus grace.
func AggregateSession[K, V, A any](in flow.Stream[K, V], op, name string, spec window.SessionSpec, late func(flow.Stream[K, V]), init func() opt.V[A], step Step[V, A], merge func(A, A) A, options ...Option) *KTable[window.SessionKey[K], A] {
	o := gather(options)
	what := fmt.Sprintf("store %q", name)
	keys, values := in.KeySerde(what), valuesOf[A](in.T, o, what)
	w := state.SessionOptions{Retention: retention(in.T, o, spec.GapMs()+spec.GraceMs(), what), Brief: o.emit != window.OnCommit}
	def := in.T.Graph().AddStore(&plan.Store{
		Name: name, Site: plan.Site(),
		Open: func(base state.Base, opt state.Options) state.Store {
			return state.OpenSession(name, keys, values, w, base, opt)
		},
	})
	out := flow.ThenAside(in, op, name, "late", late, func(env plan.Env, n *plan.Node, next flow.Next[window.SessionKey[K], flow.Change[A]], late flow.Next[K, V]) flow.Next[K, V] {
		s := &sessionAggregation[K, V, A]{
			env: env, node: n, nullKey: keys.IsNull, spec: spec, init: init, step: step, merge: merge, emit: o.emit,
			store: env.Store(name).(*state.SessionStore[K, A]), observed: env.Observed(n), next: next, late: late,
		}
		if o.emit == window.OnClose {
			s.closing = newClosing(env, name)
			env.AtTime(n, s.atTime)
		}
		if o.emit == window.OnCommit {
			env.AtCommit(n, s.emitDirty)
		}
		return s.process
	}, def)
	out.Keys = window.SessionKeys(keys)
	return &KTable[window.SessionKey[K], A]{
		changes: out, values: values, old: &oldNeed{}, stores: []*plan.Store{def},
		closes: &closes[window.SessionKey[K]]{func(k window.SessionKey[K]) int64 { return k.End }, spec.GraceMs() + spec.GapMs()},
		rows: func(env plan.Env) Rows[window.SessionKey[K], A] {
			store := env.Store(name).(*state.SessionStore[K, A])
			return func(k window.SessionKey[K]) (opt.V[A], int64, error) {
				v, timestamp, ok, err := store.Get(k.Key, k.Start, k.End)
				return opt.V[A]{Value: v, OK: ok}, timestamp, err
			}
		},
	}
}

// A sessionAggregation is an aggregation over sessions in one task.
type sessionAggregation[K, V, A any] struct {
	env      plan.Env
	node     *plan.Node
	nullKey  func(K) bool // nil where K has no null
	spec     window.SessionSpec
	init     func() opt.V[A]
	step     Step[V, A]
	merge    func(A, A) A
	emit     window.EmitMode
	store    *state.SessionStore[K, A]
	observed *int64 // highest timestamp seen
	next     flow.Next[window.SessionKey[K], flow.Change[A]]
	late     flow.Next[K, V] // nil: late records are dropped
	joined   []state.Row[A]  // that the record in hand touches
	closing  closing
}

// A session is the time from its first record to its last.
type session struct{ start, end int64 }

func (s *sessionAggregation[K, V, A]) process(r processor.Record[K, V]) error {
	if s.nullKey != nil && s.nullKey(r.Key) {
		s.env.Drop(s.node, "null key")
		return nil
	}
	*s.observed = max(*s.observed, r.Timestamp)
	open := *s.observed - s.spec.GraceMs() - s.spec.GapMs() // a session that ends before is closed
	if err := s.find(r); err != nil {
		return err
	}
	now := session{r.Timestamp, r.Timestamp}
	old := s.init()
	for _, j := range s.joined {
		now.start, now.end = min(now.start, j.Start), max(now.end, j.End)
		if !old.OK {
			old = opt.Some(j.Value)
		} else {
			old.Value = s.merge(old.Value, j.Value)
		}
	}
	if err := s.take(r, now, old, open); err != nil {
		return err
	}
	if s.emit != window.OnClose {
		return nil
	}
	return s.emitClosed(r, open)
}

// atTime closes sessions while all inputs are idle.
func (s *sessionAggregation[K, V, A]) atTime(streamTime int64) error {
	*s.observed = max(*s.observed, streamTime)
	return s.emitClosed(processor.Record[K, V]{}, *s.observed-s.spec.GraceMs()-s.spec.GapMs())
}

// take puts the session of r in place, unless it has closed.
func (s *sessionAggregation[K, V, A]) take(r processor.Record[K, V], now session, old opt.V[A], open int64) error {
	switch {
	case now.end >= open:
		return s.replace(r, now, old)
	case s.late != nil:
		return s.late(r)
	}
	s.env.Drop(s.node, "late")
	return nil
}

// find gathers the sessions that r touches.
func (s *sessionAggregation[K, V, A]) find(r processor.Record[K, V]) error {
	var err error
	s.joined, err = s.store.AppendSessions(s.joined[:0], r.Key, r.Timestamp-s.spec.GapMs(), r.Timestamp+s.spec.GapMs())
	return err
}

// replace puts the session now, with r taken into it, in the place of those that
// it joins. A session that r leaves as long as it was is updated in its place.
func (s *sessionAggregation[K, V, A]) replace(r processor.Record[K, V], now session, old opt.V[A]) error {
	grown := now.start != r.Timestamp || now.end != r.Timestamp
	for _, j := range s.joined {
		if !grown {
			break
		}
		if _, err := s.store.Remove(r.Key, j.Start, j.End, j.End); err != nil {
			return err
		}
		if err := s.update(r, session{j.Start, j.End}, opt.Some(j.Value), opt.None[A]()); err != nil {
			return err
		}
	}
	result := s.step(old, r.Value)
	if result.OK {
		if _, err := s.store.Put(r.Key, now.start, now.end, result.Value, now.end); err != nil {
			return err
		}
	} else if _, err := s.store.Remove(r.Key, now.start, now.end, now.end); err != nil {
		return err
	}
	return s.update(r, now, opt.None[A](), result)
}

// update sends a change of a session on, if that is what is asked for.
func (s *sessionAggregation[K, V, A]) update(r processor.Record[K, V], at session, old, now opt.V[A]) error {
	if s.emit != window.OnUpdate {
		return nil
	}
	return s.next(processor.Record[window.SessionKey[K], flow.Change[A]]{
		Key: window.SessionKey[K]{Key: r.Key, Start: at.start, End: at.end}, Value: flow.Change[A]{Old: old, New: now},
		Timestamp: at.end, Headers: r.Headers,
	})
}

// emitClosed sends on the sessions that have closed: those that end before open, but
// for those that were sent on before.
func (s *sessionAggregation[K, V, A]) emitClosed(r processor.Record[K, V], open int64) error {
	before, ok := s.closing.look(open)
	if !ok {
		return nil
	}
	from := int64(0)
	if before != plan.NoTime {
		from = max(from, before)
	}
	if open-1 < from {
		return nil
	}
	sc := s.store.FindRange(opt.None[K](), opt.None[K](), from, open-1, state.Forward)
	defer sc.Close() //nolint:errcheck // Err has told
	for sc.Next() {
		if sc.End() >= open {
			continue
		}
		err := s.next(processor.Record[window.SessionKey[K], flow.Change[A]]{
			Key:   window.SessionKey[K]{Key: sc.Key(), Start: sc.Start(), End: sc.End()},
			Value: flow.Change[A]{New: opt.Some(sc.Value())}, Timestamp: sc.End(), Headers: r.Headers,
		})
		if err != nil {
			return err
		}
	}
	return sc.Err()
}

// emitDirty sends on the latest result of each session that the open layer has changed.
func (s *sessionAggregation[K, V, A]) emitDirty() error {
	return s.store.EachDirty(func(key K, start, end int64, c *state.Cell[A]) error {
		return s.next(processor.Record[window.SessionKey[K], flow.Change[A]]{
			Key:   window.SessionKey[K]{Key: key, Start: start, End: end},
			Value: flow.Change[A]{New: opt.V[A]{Value: c.Value, OK: c.OK}}, Timestamp: end,
		})
	})
}
