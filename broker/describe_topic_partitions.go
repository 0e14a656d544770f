// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"slices"
	"sort"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeTopicPartitions (75), version 0: the partitions of topics by name, a
// page at a time, in order of names; of all topics if none is named.

// maxPartitionsPerPage is max.request.partition.size.limit.
const maxPartitionsPerPage = 2000

func (b *Broker) describeTopicPartitions(_ context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.DescribeTopicPartitionsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
	resp.Topics = []kmsg.DescribeTopicPartitionsResponseTopic{}
	names := b.namesAsked(req)
	from := int32(0)
	if c := req.Cursor; c != nil {
		if c.Partition < 0 || len(req.Topics) > 0 && !slices.Contains(names, c.Topic) {
			refuseAll(resp, names)
			return resp
		}
		names = names[sort.SearchStrings(names, c.Topic):]
		if len(names) > 0 && names[0] == c.Topic {
			from = c.Partition
		}
	}
	left := min(max(int(req.ResponsePartitionLimit), 1), maxPartitionsPerPage)
	for _, name := range names {
		t := b.topics.named(name)
		if t != nil && left == 0 {
			resp.NextCursor = cursorAt(name, 0)
			break
		}
		at, next := b.page(name, t, from, left)
		resp.Topics = append(resp.Topics, at)
		left -= len(at.Partitions)
		if from = 0; next > 0 {
			resp.NextCursor = cursorAt(name, next)
			break
		}
	}
	return resp
}

// namesAsked are the names of a request, each once, sorted.
func (b *Broker) namesAsked(req *kmsg.DescribeTopicPartitionsRequest) []string {
	var names []string
	for _, t := range req.Topics {
		names = append(names, t.Topic)
	}
	if len(names) == 0 {
		for _, t := range b.topics.all() {
			names = append(names, t.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func cursorAt(name string, partition int32) *kmsg.DescribeTopicPartitionsResponseNextCursor {
	c := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	c.Topic, c.Partition = name, partition
	return &c
}

func refuseAll(resp *kmsg.DescribeTopicPartitionsResponse, names []string) {
	for _, name := range names {
		at := newDescribedTopic(name)
		at.ErrorCode = kerr.InvalidRequest.Code
		resp.Topics = append(resp.Topics, at)
	}
}

func newDescribedTopic(name string) kmsg.DescribeTopicPartitionsResponseTopic {
	at := kmsg.NewDescribeTopicPartitionsResponseTopic()
	at.Topic, at.Partitions = &name, []kmsg.DescribeTopicPartitionsResponseTopicPartition{}
	return at
}

// page describes up to limit partitions of a topic. next is the first that is
// left out, 0 if none is.
func (b *Broker) page(name string, t *topic, from int32, limit int) (at kmsg.DescribeTopicPartitionsResponseTopic, next int32) {
	at = newDescribedTopic(name)
	at.AuthorizedOperations = topicOperations
	if t == nil {
		at.ErrorCode = kerr.UnknownTopicOrPartition.Code
		if checkTopicName(name) != nil {
			at.ErrorCode = kerr.InvalidTopicException.Code
		}
		return at, 0
	}
	at.TopicID, at.IsInternal = t.id, t.internal
	parts := t.partitions()
	parts = parts[min(int(from), len(parts)):]
	if len(parts) > limit {
		parts, next = parts[:limit], parts[limit].index
	}
	for _, p := range parts {
		ap := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		ap.Partition, ap.LeaderID, ap.LeaderEpoch = p.index, b.cfg.NodeID, p.epoch
		ap.Replicas = p.replicas(b.cfg.NodeID)
		ap.ISR = slices.Clone(ap.Replicas)
		// Never null: the Java client iterates over them.
		ap.EligibleLeaderReplicas, ap.LastKnownELR, ap.OfflineReplicas = []int32{}, []int32{}, []int32{}
		at.Partitions = append(at.Partitions, ap)
	}
	return at, next
}
