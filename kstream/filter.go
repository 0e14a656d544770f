// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/processor"
)

// Filter keeps the records for which keep answers true.
func (s *KStream[K, V]) Filter(keep func(K, V) bool) *KStream[K, V] {
	out := then(s, "filter", func(here flow.Place, next flow.Next[K, V]) flow.Next[K, V] {
		return func(r processor.Record[K, V]) error {
			here.Enter()
			if !keep(r.Key, r.Value) {
				return nil
			}
			return next(r)
		}
	})
	return of(out.Same(s.end))
}
