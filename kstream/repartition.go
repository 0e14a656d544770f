// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"github.com/millrace/millrace/internal/flow"
	"github.com/millrace/millrace/internal/plan"
)

// A RepartitionOption is an option of [KStream.Repartition].
type RepartitionOption interface{ applyRepartition(*repartitionOptions) }

type repartitionOptions struct {
	partitions int32
	given      bool
}

type repartitionPartitions int32

func (n repartitionPartitions) applyRepartition(o *repartitionOptions) {
	o.partitions, o.given = int32(n), true
}

// Partitions is the number of partitions of a repartition topic, and so of the tasks
// that follow it. Without it the topic has as many as the topics whose records it meets
// in a join, else as those that it comes from. It cannot be changed while the topic
// is there.
func Partitions(n int32) RepartitionOption { return repartitionPartitions(n) }

// Repartition sends the stream through the topic <application
// id>-<name>-repartition, partitioned by the present key, so that what follows
// runs in other tasks. Records with a null key are dropped and counted.
func (s *KStream[K, V]) Repartition(name string, options ...RepartitionOption) *KStream[K, V] {
	var o repartitionOptions
	for _, option := range options {
		option.applyRepartition(&o)
	}
	if o.given && o.partitions < 1 {
		s.end.T.Graph().Fail(plan.Site(), "repartition %q: %d partitions, at least 1 is needed", name, o.partitions)
	}
	return of(flow.RepartitionInto(s.end, name, o.partitions))
}
