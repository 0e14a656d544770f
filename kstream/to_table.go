// SPDX-License-Identifier: Apache-2.0

package kstream

import "github.com/millrace/millrace/ktable"

// ToTable makes a table of the stream, with a store of that name: each record sets
// the row of its key; a null, where V has one, deletes it. Where the key was
// changed, the records go through the repartition topic <application
// id>-<name>-repartition.
func (s *KStream[K, V]) ToTable(name string, options ...ktable.Option) *ktable.KTable[K, V] {
	return ktable.FromStream(s.partitioned([]Option{Named(name)}), name, options...)
}
