// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ElectLeaders (43), versions 0-2. This node leads all there is, so that there is
// never anything to elect: each partition named answers that. Of all, which a null
// asks for, only the topics are told, as by Kafka.

func (b *Broker) electLeaders(_ context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.ElectLeadersRequest)
	resp := req.ResponseKind().(*kmsg.ElectLeadersResponse)
	resp.Topics = []kmsg.ElectLeadersResponseTopic{}
	if req.TimeoutMillis < 0 {
		resp.ErrorCode = codeOf(errTimedOut)
		return resp
	}
	unknown := req.ElectionType != 0 && req.ElectionType != 1
	if unknown {
		resp.ErrorCode = kerr.InvalidRequest.Code
	}
	topics := req.Topics
	if topics == nil && !unknown {
		topics = b.allToElect()
	}
	for i := range topics {
		rt := &topics[i]
		at := kmsg.NewElectLeadersResponseTopic()
		at.Topic = rt.Topic
		for _, p := range rt.Partitions {
			ap := kmsg.NewElectLeadersResponseTopicPartition()
			err := kerr.ElectionNotNeeded
			if unknown {
				err = kerr.InvalidRequest
			} else if t := b.topics.named(rt.Topic); t == nil || t.partition(p) == nil {
				err = kerr.UnknownTopicOrPartition
			}
			ap.Partition, ap.ErrorCode, ap.ErrorMessage = p, err.Code, &err.Description
			at.Partitions = append(at.Partitions, ap)
		}
		resp.Topics = append(resp.Topics, at)
	}
	return resp
}

// allToElect names all topics, without partitions.
func (b *Broker) allToElect() (all []kmsg.ElectLeadersRequestTopic) {
	for _, t := range b.topics.all() {
		rt := kmsg.NewElectLeadersRequestTopic()
		rt.Topic = t.name
		all = append(all, rt)
	}
	return all
}
