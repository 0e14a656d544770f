// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeConfigs (32), versions 1-4, of topics, of groups whether they exist or
// not, of this broker by its id, and of all brokers by the empty name. Other kinds of resources are not there.

type describedConfig = kmsg.DescribeConfigsResponseResourceConfig

func (b *Broker) describeConfigs(_ context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.DescribeConfigsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	seen := make(map[resource]bool)
	for i := range req.Resources {
		q := &req.Resources[i]
		rs := resource{q.ResourceType, q.ResourceName}
		if seen[rs] {
			continue // one answer is long enough
		}
		seen[rs] = true
		a := kmsg.NewDescribeConfigsResponseResource()
		a.ResourceType, a.ResourceName = q.ResourceType, q.ResourceName
		a.Configs = []describedConfig{} // never null: clients iterate over it
		all, err := b.configsOf(q)
		if a.ErrorMessage = new(string); err != nil {
			a.ErrorCode = codeOf(err)
			if a.ErrorCode != kerr.UnknownTopicOrPartition.Code { // of which Kafka says no more
				a.ErrorMessage = message(err)
			}
		}
		for _, c := range all {
			if len(q.ConfigNames) > 0 && !slices.Contains(q.ConfigNames, c.Name) {
				continue
			}
			if !req.IncludeSynonyms {
				c.ConfigSynonyms = nil
			}
			if !req.IncludeDocumentation {
				c.Documentation = nil
			}
			a.Configs = append(a.Configs, c)
		}
		resp.Resources = append(resp.Resources, a)
	}
	return resp
}

// configsOf tells all there is to tell of a resource.
func (b *Broker) configsOf(q *kmsg.DescribeConfigsRequestResource) ([]describedConfig, error) {
	defaults := b.topics.defaults.Load()
	switch q.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if err := checkTopicName(q.ResourceName); err != nil {
			return nil, err
		}
		t, code := b.lookup(false, q.ResourceName, topicID{})
		if code != 0 {
			return nil, kerr.ErrorForCode(code)
		}
		return describeOptions(&layers{topic: t.config().set, brokerLayers: defaults}, func(o *option) string { return o.topic }), nil
	case kmsg.ConfigResourceTypeBroker:
		if q.ResourceName == "" {
			return describeSet(defaults.cluster), nil
		}
		if err := b.checkNode(q.ResourceName); err != nil {
			return nil, err
		}
		return describeOptions(&layers{brokerLayers: defaults}, func(o *option) string { return o.broker }), nil
	case kmsg.ConfigResourceTypeGroupConfig:
		if q.ResourceName == "" {
			return nil, fmt.Errorf("%w: groups have no common configs", errBadChange)
		}
		return describeOptions(b.topics.groupLayers(b.topics.groupConfig(q.ResourceName)), func(o *option) string { return o.group }), nil
	default:
		return nil, errResourceKind
	}
}

// describeOptions lists those that have a name, on topics, groups or the broker.
func describeOptions(l *layers, name func(*option) string) []describedConfig {
	var all []describedConfig
	for i := range options {
		o := &options[i]
		own := name(o)
		if own == "" {
			continue
		}
		c := kmsg.NewDescribeConfigsResponseResourceConfig()
		c.Name, c.ConfigType, c.Documentation = own, o.kind, &o.doc
		c.ReadOnly = o.fixed && own == o.broker
		value, source := l.value(o)
		c.Value, c.Source = &value, source
		settings := l.of(o)
		if own == o.broker && len(settings) == 0 {
			c.Value = nil // the default has another name
		}
		for _, s := range settings {
			c.ConfigSynonyms = append(c.ConfigSynonyms, synonym(s))
		}
		all = append(all, c)
	}
	return all
}

// describeSet lists what is set for all brokers, and only that.
func describeSet(set map[string]string) []describedConfig {
	var all []describedConfig
	for i := range options {
		o := &options[i]
		value, ok := set[o.broker]
		if !ok {
			continue
		}
		c := kmsg.NewDescribeConfigsResponseResourceConfig()
		c.Name, c.Value, c.ConfigType, c.Documentation = o.broker, &value, o.kind, &o.doc
		c.Source = kmsg.ConfigSourceDynamicDefaultBrokerConfig
		c.ConfigSynonyms = append(c.ConfigSynonyms, synonym(setting{o.broker, value, c.Source}))
		all = append(all, c)
	}
	return all
}

func synonym(s setting) kmsg.DescribeConfigsResponseResourceConfigConfigSynonym {
	c := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
	c.Name, c.Value, c.Source = s.name, &s.value, s.source
	return c
}

// checkNode refuses the name of a broker that is not this one.
func (b *Broker) checkNode(name string) error {
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil || int32(id) != b.cfg.NodeID {
		return errUnknownNode
	}
	return nil
}
