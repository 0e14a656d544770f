// SPDX-License-Identifier: Apache-2.0

package broker

import "github.com/millrace/millrace/broker/internal/group"

// groupTopics returns all topics as the group coordinator sees them. The
// picture is made when it is asked for, and kept until a topic changes.
func (r *registry) groupTopics() *group.Topics {
	if t := r.picture.Load(); t != nil {
		return t
	}
	// While the lock is held nothing changes, so that an older picture can't
	// be kept after a change has thrown it away.
	r.mu.RLock()
	defer r.mu.RUnlock()
	topics := make([]group.Topic, 0, len(r.byName))
	for _, t := range r.byName {
		topics = append(topics, group.Topic{Name: t.name, ID: t.id, Partitions: int32(len(t.partitions()))})
	}
	t := group.NewTopics(topics)
	r.picture.Store(t)
	return t
}

func (b *Broker) partitionExists(topic string, partition int32) bool {
	t := b.topics.named(topic)
	return t != nil && t.partition(partition) != nil
}
