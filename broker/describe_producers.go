// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeProducers (61), version 0: the idempotent producers that a partition
// remembers. There are no transactions yet, so none is in one.

func (b *Broker) describeProducers(_ context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.DescribeProducersRequest)
	resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
	seen := make(map[topicPartition]bool)
	for i := range req.Topics {
		rt := &req.Topics[i]
		at := kmsg.NewDescribeProducersResponseTopic()
		at.Topic = rt.Topic
		t := b.topics.named(rt.Topic)
		for _, i := range rt.Partitions {
			tp := topicPartition{rt.Topic, i}
			if seen[tp] {
				continue // the answer may be long
			}
			seen[tp] = true
			ap := kmsg.NewDescribeProducersResponseTopicPartition()
			ap.Partition = i
			ap.ActiveProducers = []kmsg.DescribeProducersResponseTopicPartitionActiveProducer{}
			switch {
			case checkTopicName(rt.Topic) != nil:
				ap.ErrorCode, ap.ErrorMessage = kerr.InvalidTopicException.Code, &kerr.InvalidTopicException.Description
			case t == nil || t.partition(i) == nil:
				ap.ErrorCode, ap.ErrorMessage = kerr.UnknownTopicOrPartition.Code, &kerr.UnknownTopicOrPartition.Description
			default:
				ap.ActiveProducers = t.partition(i).activeProducers()
			}
			at.Partitions = append(at.Partitions, ap)
		}
		resp.Topics = append(resp.Topics, at)
	}
	return resp
}

func (p *partition) activeProducers() []kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
	all := []kmsg.DescribeProducersResponseTopicPartitionActiveProducer{}
	for _, s := range p.log.Producers() {
		a := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
		a.ProducerID, a.ProducerEpoch, a.LastSequence, a.LastTimestamp = s.ID, int32(s.Epoch), s.LastSequence, s.LastTimestamp
		a.CoordinatorEpoch, a.CurrentTxnStartOffset = -1, -1
		all = append(all, a)
	}
	return all
}
