// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeConfigs (32), versions 1-4, of topics and of this broker, without
// documentation. Other kinds of resources are not there.

func (b *Broker) describeConfigs(_ context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.DescribeConfigsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	for _, q := range req.Resources {
		a := kmsg.NewDescribeConfigsResponseResource()
		a.ResourceType, a.ResourceName = q.ResourceType, q.ResourceName
		all, err := b.configsOf(&q, req.IncludeSynonyms)
		if err != nil {
			a.ErrorCode, a.ErrorMessage = err.Code, &err.Description
		}
		a.Configs = slices.DeleteFunc(all, func(c kmsg.DescribeConfigsResponseResourceConfig) bool {
			return q.ConfigNames != nil && !slices.Contains(q.ConfigNames, c.Name)
		})
		resp.Resources = append(resp.Resources, a)
	}
	return resp
}

func (b *Broker) configsOf(q *kmsg.DescribeConfigsRequestResource, synonyms bool) ([]kmsg.DescribeConfigsResponseResourceConfig, *kerr.Error) {
	switch q.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if checkTopicName(q.ResourceName) != nil {
			return nil, kerr.InvalidTopicException
		}
		t := b.topics.named(q.ResourceName)
		if t == nil {
			return nil, kerr.UnknownTopicOrPartition
		}
		return b.topicConfigs(t, synonyms), nil
	case kmsg.ConfigResourceTypeBroker:
		if id := strconv.Itoa(int(b.cfg.NodeID)); q.ResourceName != id && q.ResourceName != "" {
			return nil, kerr.InvalidRequest
		}
		return b.brokerConfigs(synonyms), nil
	default:
		return nil, kerr.InvalidRequest
	}
}

func (b *Broker) topicConfigs(t *topic, synonyms bool) []kmsg.DescribeConfigsResponseResourceConfig {
	var all []kmsg.DescribeConfigsResponseResourceConfig
	for i := range topicKeys {
		k := &topicKeys[i]
		c := kmsg.NewDescribeConfigsResponseResourceConfig()
		value, source := k.valueOf(&b.cfg, t.configs)
		c.Name, c.Value, c.Source, c.ConfigType = k.name, &value, source, k.kind
		c.IsDefault = source != kmsg.ConfigSourceDynamicTopicConfig
		if synonyms {
			if !c.IsDefault {
				c.ConfigSynonyms = append(c.ConfigSynonyms, synonym(k.name, value, source))
			}
			below, from := k.valueOf(&b.cfg, nil)
			c.ConfigSynonyms = append(c.ConfigSynonyms, synonym(k.broker, below, from))
		}
		all = append(all, c)
	}
	return all
}

func synonym(name, value string, source kmsg.ConfigSource) kmsg.DescribeConfigsResponseResourceConfigConfigSynonym {
	s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
	s.Name, s.Value, s.Source = name, &value, source
	return s
}

// brokerKey is a configuration key of the broker as clients see it.
type brokerKey struct {
	name  string
	kind  kmsg.ConfigType
	value string
}

func (b *Broker) brokerConfigs(synonyms bool) []kmsg.DescribeConfigsResponseResourceConfig {
	var all []kmsg.DescribeConfigsResponseResourceConfig
	for _, k := range b.brokerKeys() {
		c := kmsg.NewDescribeConfigsResponseResourceConfig()
		c.Name, c.Value, c.ConfigType, c.ReadOnly = k.name, &k.value, k.kind, true
		c.Source = kmsg.ConfigSourceStaticBrokerConfig
		if synonyms {
			c.ConfigSynonyms = append(c.ConfigSynonyms, synonym(k.name, k.value, c.Source))
		}
		all = append(all, c)
	}
	return all
}

func (b *Broker) brokerKeys() []brokerKey {
	c := &b.cfg
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	keys := []brokerKey{
		{"advertised.listeners", typeStr, "PLAINTEXT://" + b.advertise},
		{"auto.create.topics.enable", typeBool, strconv.FormatBool(c.AutoCreateTopics)},
		{"connections.max.idle.ms", typeLong, number(c.IdleTimeout.Milliseconds())},
		{"default.replication.factor", typeInt, "1"},
		{"fetch.max.bytes", typeInt, number(int64(c.FetchMaxBytes))},
		{"group.initial.rebalance.delay.ms", typeInt, number(c.GroupInitialRebalanceDelay.Milliseconds())},
		{"group.max.session.timeout.ms", typeInt, number(c.GroupMaxSessionTimeout.Milliseconds())},
		{"group.min.session.timeout.ms", typeInt, number(c.GroupMinSessionTimeout.Milliseconds())},
		{"log.dir", typeStr, c.Dir},
		{"node.id", typeInt, number(int64(c.NodeID))},
		{"num.partitions", typeInt, number(int64(c.NumPartitions))},
		{"offsets.retention.minutes", typeInt, number(int64(c.OffsetsRetention.Minutes()))},
		{"offsets.topic.num.partitions", typeInt, number(int64(len(b.topics.named(offsetsTopic).partitions())))},
		{"offsets.topic.replication.factor", typeInt, "1"},
		{"queued.max.request.bytes", typeLong, number(c.RequestMemory)},
		{"socket.request.max.bytes", typeInt, number(int64(c.RequestMaxBytes))},
	}
	for i := range topicKeys {
		keys = append(keys, brokerKey{topicKeys[i].broker, topicKeys[i].kind, topicKeys[i].value(c)})
	}
	return keys
}
