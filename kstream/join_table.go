// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
)

// JoinTable joins each record with the row that the table holds for its key when
// the record is processed. A record without a row makes no result; one with a null
// key or value is dropped and counted. The stream's topic and the table's must have
// the same number of partitions, and be partitioned alike.
//
// Stream and table are read in the order of their timestamps, as far as
// Config.MaxTaskIdle allows. A change of the table alone makes no result.
func (s *KStream[K, V]) JoinTable[V2, R any](t *ktable.KTable[K, V2], f func(V, V2) R, options ...Option) *KStream[K, R] {
	return joinTable(s, t, "join", func(v V, row opt.V[V2]) (R, bool) {
		if !row.OK {
			var none R
			return none, false
		}
		return f(v, row.Value), true
	}, false, options)
}

// LeftJoinTable is JoinTable, but a record without a row, or with a null key, makes
// a result, too.
func (s *KStream[K, V]) LeftJoinTable[V2, R any](t *ktable.KTable[K, V2], f func(V, opt.V[V2]) R, options ...Option) *KStream[K, R] {
	return joinTable(s, t, "left-join", func(v V, row opt.V[V2]) (R, bool) { return f(v, row), true }, true, options)
}

// joinTable follows KStreamKTableJoin of Kafka Streams.
func joinTable[K, V, V2, R any](s *KStream[K, V], t *ktable.KTable[K, V2], op string, join func(V, opt.V[V2]) (R, bool), left bool, options []Option) *KStream[K, R] {
	in := s.end
	switch {
	case in.Rekeyed && left: // a null key makes a result, too
		in = flow.RepartitionAll(in, gather(options).name)
	case in.Rekeyed:
		in = s.partitioned(options)
	}
	lookup, stores := t.Lookup()
	nullKey, nullValue := in.KeySerde(op).IsNull, in.NullValue()
	out := flow.Then(in, op, "", func(env plan.Env, n *plan.Node, next flow.Next[K, R]) flow.Next[K, V] {
		rows := lookup(env)
		return func(r processor.Record[K, V]) error {
			if nullValue != nil && nullValue(r.Value) {
				env.Drop(n, "null value")
				return nil
			}
			var row opt.V[V2]
			if nullKey == nil || !nullKey(r.Key) {
				var err error
				if row, _, err = rows(r.Key); err != nil {
					return err
				}
			} else if !left {
				env.Drop(n, "null key")
				return nil
			}
			result, ok := join(r.Value, row)
			if !ok {
				return nil
			}
			return next(processor.Record[K, R]{Key: r.Key, Value: result, Timestamp: r.Timestamp, Headers: r.Headers})
		}
	}, stores...)
	out.Keys = in.Keys
	return of(out)
}
