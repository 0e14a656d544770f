// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/processor"
)

// OnError is the policy for records at which the step that made this stream fails:
// whose function returns an error or panics. For a stream that [From] began it is the
// policy for records that cannot be decoded. It wins over the application's.
//
//	s.TryMapValues(parse).OnError(processor.DeadLetter("unparsed"))
func (s *KStream[K, V]) OnError(p processor.Policy) *KStream[K, V] {
	policy := p.Plan()
	s.end.Node.Policy = &policy
	return s
}

// thenTry is then for a function of the program that may fail. An error meets the
// step's policy, which may have the function called again; no record was sent on yet.
func thenTry[K, V, K2, V2, T any](s *KStream[K, V], op string, f func(r processor.Record[K, V]) (T, error), step func(r processor.Record[K, V], result T, next flow.Next[K2, V2]) error) flow.Stream[K2, V2] {
	return flow.Then(s.end, op, "", func(env plan.Env, n *plan.Node, next flow.Next[K2, V2]) flow.Next[K, V] {
		next = flow.Guard(env, n, next)
		return func(r processor.Record[K, V]) error {
			for try := 1; ; try++ {
				result, err := f(r)
				if err == nil {
					return step(r, result, next)
				}
				if again, err := env.Failed(n, plan.Processing, try, err); !again {
					return err
				}
			}
		}
	})
}

// TryMap is [KStream.Map] for a function that may fail: see [KStream.OnError].
func (s *KStream[K, V]) TryMap[K2, V2 any](f func(K, V) (K2, V2, error)) *KStream[K2, V2] {
	type pair struct {
		key   K2
		value V2
	}
	out := of(thenTry(s, "map", func(r processor.Record[K, V]) (p pair, err error) {
		p.key, p.value, err = f(r.Key, r.Value)
		return p, err
	}, func(r processor.Record[K, V], p pair, next flow.Next[K2, V2]) error {
		return next(processor.Record[K2, V2]{Key: p.key, Value: p.value, Timestamp: r.Timestamp, Headers: r.Headers})
	}))
	out.end.Rekeyed = true
	return out
}

// TryMapValues is [KStream.MapValues] for a function that may fail: see [KStream.OnError].
func (s *KStream[K, V]) TryMapValues[V2 any](f func(V) (V2, error)) *KStream[K, V2] {
	out := of(thenTry(s, "map-values", func(r processor.Record[K, V]) (V2, error) { return f(r.Value) },
		func(r processor.Record[K, V], v V2, next flow.Next[K, V2]) error {
			return next(processor.Record[K, V2]{Key: r.Key, Value: v, Timestamp: r.Timestamp, Headers: r.Headers})
		}))
	out.end.Keys = s.end.Keys
	return out
}

// TryFilter is [KStream.Filter] for a function that may fail: see [KStream.OnError].
func (s *KStream[K, V]) TryFilter(keep func(K, V) (bool, error)) *KStream[K, V] {
	out := thenTry(s, "filter", func(r processor.Record[K, V]) (bool, error) { return keep(r.Key, r.Value) },
		func(r processor.Record[K, V], kept bool, next flow.Next[K, V]) error {
			if !kept {
				return nil
			}
			return next(r)
		})
	return of(out.Same(s.end))
}

// TryFlatMapValues is [KStream.FlatMapValues] for a function that may fail: see
// [KStream.OnError].
func (s *KStream[K, V]) TryFlatMapValues[V2 any](f func(V) ([]V2, error)) *KStream[K, V2] {
	out := of(thenTry(s, "flat-map-values", func(r processor.Record[K, V]) ([]V2, error) { return f(r.Value) },
		func(r processor.Record[K, V], values []V2, next flow.Next[K, V2]) error {
			for _, v := range values {
				if err := next(processor.Record[K, V2]{Key: r.Key, Value: v, Timestamp: r.Timestamp, Headers: r.Headers}); err != nil {
					return err
				}
			}
			return nil
		}))
	out.end.Keys = s.end.Keys
	return out
}

// TryForeach is [KStream.Foreach] for a function that may fail. The options say what
// becomes of its record then: see [OnError].
func (s *KStream[K, V]) TryForeach(do func(processor.Record[K, V]) error, options ...EndOption) {
	out := flow.Then(s.end, "foreach", "", func(env plan.Env, n *plan.Node, _ flow.Next[K, V]) flow.Next[K, V] {
		return tried(env, n, do)
	})
	gatherEnd(options).end(s.end.T.Graph(), out.Node)
}
