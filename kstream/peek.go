// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/processor"
)

// Peek calls look for each record and lets it pass: to log, count or debug.
// After a crash a record may be looked at again.
func (s *KStream[K, V]) Peek(look func(processor.Record[K, V])) *KStream[K, V] {
	out := then(s, "peek", func(here flow.Place, next flow.Next[K, V]) flow.Next[K, V] {
		return func(r processor.Record[K, V]) error {
			here.Enter()
			look(r)
			return next(r)
		}
	})
	return of(out.Same(s.end))
}
