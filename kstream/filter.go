// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/processor"
)

// Filter keeps the records for which keep answers true.
func (s *KStream[K, V]) Filter(keep func(K, V) bool) *KStream[K, V] {
	out := then(s, "filter", func(r processor.Record[K, V], next flow.Next[K, V]) error {
		if !keep(r.Key, r.Value) {
			return nil
		}
		return next(r)
	})
	return of(out.Same(s.end))
}
