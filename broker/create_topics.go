// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreateTopics (19), versions 2-7. A topic can be produced to when the answer
// comes. One node: a replication factor above 1 is refused.

var (
	errReplicationFactor = errors.New("replication factor is larger than the number of brokers, 1")
	errAssignment        = errors.New("invalid replica assignment")
	errAssigned          = errors.New("both manual and automatic assignment")
	errTimedOut          = errors.New("no time is left for it") // a timeout below 0: nothing is done, as in Kafka
	errNamedTwice        = errors.New("the request names it more than once")
)

func (b *Broker) createTopics(ctx context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.CreateTopicsRequest)
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	times := make(map[string]int)
	for _, rt := range req.Topics {
		times[rt.Topic]++
	}
	answered := make(map[string]bool)
	for _, rt := range req.Topics {
		if answered[rt.Topic] {
			continue // once for a topic named twice, as Kafka does
		}
		answered[rt.Topic] = true
		at := kmsg.NewCreateTopicsResponseTopic()
		at.Topic = rt.Topic
		at.NumPartitions, at.ReplicationFactor = -1, -1
		at.Configs = []kmsg.CreateTopicsResponseTopicConfig{} // never null: clients iterate over it
		n, err := b.wanted(&rt)
		switch {
		case req.TimeoutMillis < 0:
			err = errTimedOut
		case times[rt.Topic] > 1:
			err = errNamedTwice
		case err != nil:
		case req.ValidateOnly:
			err = b.topics.checkNew(n)
			_, _ = rand.Read(at.TopicID[:]) // an id that none will have, as in Kafka
		default:
			var t *topic
			if t, err = b.topics.create(ctx, n); err == nil {
				at.TopicID = t.id
			}
		}
		if err != nil {
			b.createFailed(&at, err)
		} else {
			at.NumPartitions, at.ReplicationFactor = n.partitions, 1
			at.Configs = b.createdConfigs(n.configs)
		}
		resp.Topics = append(resp.Topics, at)
	}
	return resp
}

func (b *Broker) createFailed(at *kmsg.CreateTopicsResponseTopic, err error) {
	at.ErrorCode, at.ErrorMessage, at.TopicID = codeOf(err), message(err), topicID{}
	if isStorage(at.ErrorCode) {
		b.log.Error("create topic", "topic", at.Topic, "err", err)
	}
}

// wanted turns a request for a topic into what the registry makes.
func (b *Broker) wanted(rt *kmsg.CreateTopicsRequestTopic) (newTopic, error) {
	n := newTopic{name: rt.Topic, partitions: rt.NumPartitions}
	if n.partitions == -1 {
		n.partitions = b.cfg.NumPartitions
	}
	switch {
	case len(rt.ReplicaAssignment) > 0:
		if rt.NumPartitions != -1 || rt.ReplicationFactor != -1 {
			return n, fmt.Errorf("%w: partitions or replication factor are given too", errAssigned)
		}
		n.partitions = int32(len(rt.ReplicaAssignment))
		if err := b.checkAssignment(rt.ReplicaAssignment); err != nil {
			return n, err
		}
	case rt.ReplicationFactor == 0 || rt.ReplicationFactor < -1 || rt.ReplicationFactor > 1:
		return n, fmt.Errorf("%w: %d", errReplicationFactor, rt.ReplicationFactor)
	}
	for _, c := range rt.Configs {
		if c.Value == nil {
			return n, fmt.Errorf("%w: %.100q is null", errInvalidConfig, c.Name)
		}
		if err := checkTopicConfig(c.Name, *c.Value); err != nil {
			return n, err
		}
		if n.configs == nil {
			n.configs = make(map[string]string)
		}
		n.configs[c.Name] = *c.Value
	}
	return n, b.topics.defaults.Load().checkTopic(n.configs)
}

// checkAssignment wants each partition from 0 on, once, on this node.
func (b *Broker) checkAssignment(as []kmsg.CreateTopicsRequestTopicReplicaAssignment) error {
	seen := make(map[int32]bool)
	for _, a := range as {
		if a.Partition < 0 || int(a.Partition) >= len(as) || seen[a.Partition] ||
			len(a.Replicas) != 1 || a.Replicas[0] != b.cfg.NodeID {
			return fmt.Errorf("%w: partition %d on %v", errAssignment, a.Partition, a.Replicas)
		}
		seen[a.Partition] = true
	}
	return nil
}

// createdConfigs tells all configs of a new topic (v5+).
func (b *Broker) createdConfigs(configs map[string]string) []kmsg.CreateTopicsResponseTopicConfig {
	l := &layers{topic: configs, brokerLayers: b.topics.defaults.Load()}
	var all []kmsg.CreateTopicsResponseTopicConfig
	for i := range options {
		o := &options[i]
		if o.topic == "" {
			continue
		}
		c := kmsg.NewCreateTopicsResponseTopicConfig()
		value, source := l.value(o)
		c.Name, c.Value, c.Source = o.topic, &value, int8(source)
		all = append(all, c)
	}
	return all
}
