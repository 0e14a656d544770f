// SPDX-License-Identifier: Apache-2.0

package kstream

import "github.com/millrace/millrace/internal/flow"

// Merge joins the records of s and of others into one stream. The order within
// each is kept, that between them is not defined.
func (s *KStream[K, V]) Merge(others ...*KStream[K, V]) *KStream[K, V] {
	ends := []flow.Stream[K, V]{s.end}
	for _, o := range others {
		ends = append(ends, o.end)
	}
	return of(flow.Merge(ends...))
}
