// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/processor"
)

// Foreach calls do for each record and ends the chain: for an effect outside.
// After a crash a record may be done again.
func (s *KStream[K, V]) Foreach(do func(processor.Record[K, V])) {
	flow.Then(s.end, "foreach", "", func(plan.Env, *plan.Node, flow.Next[K, V]) flow.Next[K, V] {
		return func(r processor.Record[K, V]) error {
			do(r)
			return nil
		}
	})
}
