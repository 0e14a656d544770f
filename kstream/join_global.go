// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
)

// JoinGlobal joins each record with the row that a global table holds for the key
// that keyOf gives, when the record is processed. A record without a row makes no result;
// one with a null value, or for which keyOf gives a null, is dropped and counted. The
// record keeps its own key, which may be null.
//
//	orders.JoinGlobal(products, func(_ string, o Order) string { return o.Product }, priced)
func (s *KStream[K, V]) JoinGlobal[GK, GV, R any](g *ktable.GlobalTable[GK, GV], keyOf func(K, V) GK, f func(V, GV) R) *KStream[K, R] {
	return joinGlobal(s, g, "join-global", keyOf, func(v V, row opt.V[GV]) (R, bool) {
		if !row.OK {
			var none R
			return none, false
		}
		return f(v, row.Value), true
	}, false)
}

// LeftJoinGlobal is JoinGlobal, but a record without a row, or for which keyOf gives a
// null, makes a result, too.
func (s *KStream[K, V]) LeftJoinGlobal[GK, GV, R any](g *ktable.GlobalTable[GK, GV], keyOf func(K, V) GK, f func(V, opt.V[GV]) R) *KStream[K, R] {
	return joinGlobal(s, g, "left-join-global", keyOf, func(v V, row opt.V[GV]) (R, bool) { return f(v, row), true }, true)
}

// joinGlobal follows KStreamGlobalKTableJoin of Kafka Streams.
func joinGlobal[K, V, GK, GV, R any](s *KStream[K, V], g *ktable.GlobalTable[GK, GV], op string, keyOf func(K, V) GK, join func(V, opt.V[GV]) (R, bool), left bool) *KStream[K, R] {
	lookup, keys := g.Lookup()
	nullValue := s.end.NullValue()
	out := flow.Then(s.end, op, "", func(env plan.Env, n *plan.Node, next flow.Next[K, R]) flow.Next[K, V] {
		rows := lookup(env)
		return func(r processor.Record[K, V]) error {
			if nullValue != nil && nullValue(r.Value) {
				env.Drop(n, "null value")
				return nil
			}
			key := keyOf(r.Key, r.Value)
			var row opt.V[GV]
			if keys.IsNull == nil || !keys.IsNull(key) {
				var err error
				if row, _, err = rows(key); err != nil {
					return err
				}
			} else if !left {
				env.Drop(n, "null key of a global table")
				return nil
			}
			result, ok := join(r.Value, row)
			if !ok {
				return nil
			}
			return next(processor.Record[K, R]{Key: r.Key, Value: result, Timestamp: r.Timestamp, Headers: r.Headers})
		}
	})
	out.Keys = s.end.Keys
	return of(out)
}
