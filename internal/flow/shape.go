// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/processor"
)

// Merge adds a node behind several streams that passes the records of all on.
func Merge[K, V any](ends ...Stream[K, V]) Stream[K, V] {
	n := &plan.Node{Kind: plan.Operator, Op: "merge", Site: plan.Site()}
	n.Make = func(env plan.Env, outs []any) (any, error) { return Fan[K, V](env, n, outs), nil }
	merged := Stream[K, V]{T: ends[0].T, Keys: ends[0].Keys, Values: ends[0].Values}
	parents := make([]*plan.Node, len(ends))
	for i, s := range ends {
		if s.T != merged.T {
			for _, t := range []*processor.Topology{merged.T, s.T} {
				t.Graph().Fail(n.Site, "merge: the streams are of different topologies")
			}
		}
		parents[i] = s.Node
		merged.Rekeyed = merged.Rekeyed || s.Rekeyed
	}
	merged.Node = merged.T.Graph().Add(n, parents...)
	return merged
}

// Split adds a node behind s that sends each record to one of n streams: the one
// whose index choose answers.
func Split[K, V any](s Stream[K, V], n int, choose func(K, V) int) []Stream[K, V] {
	node := &plan.Node{Kind: plan.Operator, Op: "split", Site: plan.Site()}
	node.Make = func(env plan.Env, outs []any) (any, error) {
		at, id := env.At(), int32(node.ID)
		next := make([]Next[K, V], len(outs)) // its children are the n branches, nothing else
		for i, o := range outs {
			next[i] = o.(Next[K, V])
		}
		return func(r processor.Record[K, V]) error {
			*at = id
			return next[choose(r.Key, r.Value)](r)
		}, nil
	}
	split := s
	split.Node = s.T.Graph().Add(node, s.Node)
	branches := make([]Stream[K, V], n)
	for i := range branches {
		branches[i] = Then(split, "branch", "", func(_ plan.Env, _ *plan.Node, next Next[K, V]) Next[K, V] { return next }).Same(s)
	}
	return branches
}
