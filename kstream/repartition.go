// SPDX-License-Identifier: Apache-2.0

package kstream

import "github.com/millrace/millrace/internal/flow"

// Repartition sends the stream through the topic <application
// id>-<name>-repartition, partitioned by the present key, so that what follows
// runs in other tasks. Records with a null key are dropped and counted.
func (s *KStream[K, V]) Repartition(name string) *KStream[K, V] {
	return of(flow.Repartition(s.end, name))
}
