// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Metadata (3), versions 0-13. A topic that is created by being asked for is
// there in the answer: Kafka answers LEADER_NOT_AVAILABLE first. Without an
// authorizer, whoever asks is told that all operations are allowed.

// What everybody may do, as bits of Kafka's AclOperation.
const (
	topicOperations   = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	groupOperations   = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11
	clusterOperations = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
)

func (b *Broker) metadata(ctx context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.MetadataRequest)
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	if req.Version < 12 && slices.ContainsFunc(req.Topics, func(q kmsg.MetadataRequestTopic) bool { return q.Topic == nil || q.TopicID != topicID{} }) {
		return refuseMetadata(req, resp, kerr.InvalidRequest.Code)
	}
	if slices.ContainsFunc(req.Topics, func(q kmsg.MetadataRequestTopic) bool { return q.Topic == nil && q.TopicID == topicID{} }) {
		return refuseMetadata(req, resp, kerr.UnknownServerError.Code) // Kafka's code for neither a name nor an id
	}
	node := kmsg.NewMetadataResponseBroker()
	node.NodeID, node.Host, node.Port = b.cfg.NodeID, b.host, b.port
	resp.Brokers = append(resp.Brokers, node)
	resp.ClusterID = &b.topics.clusterID
	resp.ControllerID = b.cfg.NodeID
	if req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = clusterOperations
	}
	resp.Topics = []kmsg.MetadataResponseTopic{}
	if req.Topics == nil || req.Version == 0 && len(req.Topics) == 0 {
		for _, t := range b.topics.all() {
			resp.Topics = append(resp.Topics, b.describeTopic(t))
		}
	} else {
		type asked struct {
			id   topicID
			name string
		}
		seen := make(map[asked]bool)
		for _, q := range req.Topics {
			who := asked{id: q.TopicID}
			if q.Topic != nil {
				who.name = *q.Topic
			}
			if seen[who] {
				continue // once, as Kafka does
			}
			seen[who] = true
			t := b.findTopic(ctx, req, &q)
			if who = (asked{id: t.TopicID}); t.ErrorCode == 0 && q.TopicID == (topicID{}) {
				if seen[who] {
					continue // it was asked for by its id too
				}
				seen[who] = true
			}
			resp.Topics = append(resp.Topics, t)
		}
	}
	if req.IncludeTopicAuthorizedOperations {
		for i := range resp.Topics {
			if resp.Topics[i].ErrorCode == 0 {
				resp.Topics[i].AuthorizedOperations = topicOperations
			}
		}
	}
	return resp
}

// refuseMetadata refuses a request as a whole: one for topics by id before v12, or
// for a topic without a name and an id. No topic is answered, and nothing else.
func refuseMetadata(req *kmsg.MetadataRequest, resp *kmsg.MetadataResponse, code int16) kmsg.Response {
	resp.ControllerID, resp.ErrorCode = -1, code
	for i := range req.Topics {
		none := kmsg.NewMetadataResponseTopic()
		none.ErrorCode = code
		none.Topic, none.TopicID = new(string), req.Topics[i].TopicID
		if req.Topics[i].Topic != nil {
			none.Topic = req.Topics[i].Topic
		}
		resp.Topics = append(resp.Topics, none)
	}
	return resp
}

// findTopic answers for one topic asked for, and creates it if that is allowed.
func (b *Broker) findTopic(ctx context.Context, req *kmsg.MetadataRequest, q *kmsg.MetadataRequestTopic) kmsg.MetadataResponseTopic {
	none := kmsg.NewMetadataResponseTopic()
	none.Topic, none.TopicID = q.Topic, q.TopicID
	none.Partitions = []kmsg.MetadataResponseTopicPartition{}
	if q.TopicID != [16]byte{} {
		if t := b.topics.withID(q.TopicID); t != nil {
			return b.describeTopic(t)
		}
		none.ErrorCode = kerr.UnknownTopicID.Code
		return none
	}
	if q.Topic == nil {
		none.ErrorCode = kerr.InvalidRequest.Code
		return none
	}
	if t := b.topics.named(*q.Topic); t != nil {
		return b.describeTopic(t)
	}
	if err := checkTopicName(*q.Topic); err != nil {
		none.ErrorCode = codeOf(err)
		return none
	}
	if !b.cfg.AutoCreateTopics || req.Version >= 4 && !req.AllowAutoTopicCreation {
		none.ErrorCode = kerr.UnknownTopicOrPartition.Code
		return none
	}
	t, err := b.topics.create(ctx, newTopic{name: *q.Topic, partitions: b.cfg.NumPartitions})
	if err == nil {
		return b.describeTopic(t)
	}
	if t := b.topics.named(*q.Topic); t != nil { // somebody else was faster
		return b.describeTopic(t)
	}
	b.log.Error("auto-creation of a topic", "topic", *q.Topic, "err", err)
	none.ErrorCode = codeOf(err)
	return none
}

func (b *Broker) describeTopic(t *topic) kmsg.MetadataResponseTopic {
	mt := kmsg.NewMetadataResponseTopic()
	mt.Topic, mt.TopicID, mt.IsInternal = &t.name, t.id, t.internal
	for _, p := range t.partitions() {
		mp := kmsg.NewMetadataResponseTopicPartition()
		mp.Partition, mp.Leader, mp.LeaderEpoch = p.index, b.cfg.NodeID, p.epoch
		mp.Replicas = p.replicas(b.cfg.NodeID)
		mp.ISR = slices.Clone(mp.Replicas)
		mp.OfflineReplicas = []int32{}
		mt.Partitions = append(mt.Partitions, mp)
	}
	return mt
}
