// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/processor"
)

// Peek calls look for each record and lets it pass: to log, count or debug.
// After a crash a record may be looked at again.
func (s *KStream[K, V]) Peek(look func(processor.Record[K, V])) *KStream[K, V] {
	out := then(s, "peek", func(r processor.Record[K, V], next flow.Next[K, V]) error {
		look(r)
		return next(r)
	})
	return of(out.Same(s.end))
}
