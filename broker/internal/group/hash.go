// SPDX-License-Identifier: Apache-2.0

package group

import (
	"math"
	"unicode/utf16"
)

// PartitionFor returns the partition of __consumer_offsets that holds group,
// as Kafka computes it: the hash of Java's String.hashCode (over UTF-16 code
// units), its absolute value (0 for the one that has none), modulo partitions.
func PartitionFor(group string, partitions int32) int32 {
	if partitions <= 0 {
		return 0
	}
	var h int32
	for _, u := range utf16.Encode([]rune(group)) {
		h = 31*h + int32(u)
	}
	if h == math.MinInt32 {
		h = 0
	}
	return max(h, -h) % partitions
}
