// SPDX-License-Identifier: Apache-2.0

package link

import "github.com/twmb/franz-go/pkg/kgo"

// PartitionFor is the partition, of n, that the Java client's default partitioner
// gives a key: the positive part of its murmur2 hash, modulo n.
func PartitionFor(key []byte, n int32) int32 {
	return int32(murmur2(key)&0x7fffffff) % n
}

// murmur2 is Austin Appleby's 32-bit hash with the seed of Kafka's Utils.java.
func murmur2(data []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := seed ^ uint32(len(data))
	for len(data) >= 4 {
		k := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
		data = data[4:]
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(data[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}

// partitioner takes the partition that a record names, else that of its key, else
// (KIP-480) one that changes with each batch.
type partitioner struct{}

func (partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return &topicPartitioner{sticky: kgo.StickyPartitioner().ForTopic(topic)}
}

type topicPartitioner struct{ sticky kgo.TopicPartitioner }

func (*topicPartitioner) RequiresConsistency(r *kgo.Record) bool {
	return r.Partition >= 0 || r.Key != nil
}

func (t *topicPartitioner) Partition(r *kgo.Record, n int) int {
	switch {
	case r.Partition >= 0:
		return int(r.Partition)
	case r.Key != nil:
		return int(PartitionFor(r.Key, int32(n)))
	}
	return t.sticky.Partition(r, n)
}

func (t *topicPartitioner) OnNewBatch() {
	t.sticky.(kgo.TopicPartitionerOnNewBatch).OnNewBatch()
}
