// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterConfigs (33), versions 0-2: what is not named goes back to its default.
// An answer without an error says that the change is durable and that it holds.

var (
	errResourceKind = errors.New("no configs of this kind of resource")
	errUnknownNode  = errors.New("the resource is not the id of this broker")
	errFixed        = errors.New("it can't be changed while the broker runs")
	errBadChange    = errors.New("malformed change of a config")
)

func (b *Broker) alterConfigs(ctx context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.AlterConfigsRequest)
	resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
	times := make(map[resource]int)
	for i := range req.Resources {
		times[resource{req.Resources[i].ResourceType, req.Resources[i].ResourceName}]++
	}
	for i := range req.Resources {
		q := &req.Resources[i]
		a := kmsg.NewAlterConfigsResponseResource()
		a.ResourceType, a.ResourceName = q.ResourceType, q.ResourceName
		rs := resource{q.ResourceType, q.ResourceName}
		err := errNamedTwice
		if times[rs] == 1 {
			err = b.changeConfig(ctx, rs, replaceAll(rs, q.Configs), req.ValidateOnly)
		}
		a.ErrorCode, a.ErrorMessage = codeOf(err), message(err)
		b.logConfigError(rs, err)
		resp.Resources = append(resp.Resources, a)
	}
	return resp
}

// A resource is what has configs.
type resource struct {
	kind kmsg.ConfigResourceType
	name string
}

// option finds an option of the resource by name.
func (r resource) option(name string) (*option, error) {
	if r.kind == kmsg.ConfigResourceTypeTopic {
		o := topicOption(name)
		return o, checkKnown(o, "topic", name)
	}
	if r.kind == kmsg.ConfigResourceTypeGroupConfig {
		o := groupOption(name)
		return o, checkKnown(o, "group", name)
	}
	o := brokerOption(name)
	if err := checkKnown(o, "broker", name); err != nil {
		return nil, err
	}
	if o.fixed {
		return nil, fmt.Errorf("%w: %s", errFixed, name)
	}
	return o, nil
}

// checkValue refuses a value that an option can't have.
func (r resource) checkValue(o *option, name, value string) error {
	err := checkValue(o, name, value)
	if err != nil && r.kind == kmsg.ConfigResourceTypeBroker {
		return fmt.Errorf("%w: %s", errBadChange, err.Error()) // Kafka's code for those of brokers
	}
	return err
}

// changeConfig changes the settings of a resource.
func (b *Broker) changeConfig(ctx context.Context, r resource, change configChange, dry bool) error {
	switch r.kind {
	case kmsg.ConfigResourceTypeTopic:
		if r.name == "" {
			return fmt.Errorf("%w: topics have no common configs", errBadChange)
		}
		if err := checkTopicName(r.name); err != nil {
			return err
		}
		return b.topics.changeTopicConfig(ctx, r.name, change, dry)
	case kmsg.ConfigResourceTypeBroker:
		if r.name != "" {
			if err := b.checkNode(r.name); err != nil {
				return err
			}
		}
		return b.topics.changeBrokerConfig(ctx, r.name == "", change, dry)
	case kmsg.ConfigResourceTypeGroupConfig:
		if r.name == "" {
			return fmt.Errorf("%w: groups have no common configs", errBadChange)
		}
		return b.topics.changeGroupConfig(ctx, r.name, change, dry)
	default:
		return errResourceKind
	}
}

func (b *Broker) logConfigError(r resource, err error) {
	if isStorage(codeOf(err)) {
		b.log.Error("alter configs", "kind", r.kind.String(), "name", r.name, "err", err)
	}
}

// replaceAll sets what is named, and nothing else.
func replaceAll(r resource, configs []kmsg.AlterConfigsRequestResourceConfig) configChange {
	return func(old map[string]string) (map[string]string, error) {
		set := make(map[string]string)
		for _, c := range configs {
			if _, twice := set[c.Name]; twice || c.Value == nil {
				return nil, fmt.Errorf("%w: %.100q is there twice, or null", errBadChange, c.Name)
			}
			o, err := r.option(c.Name)
			if err != nil {
				return nil, err
			}
			if err := r.checkValue(o, c.Name, *c.Value); err != nil {
				return nil, err
			}
			set[c.Name] = *c.Value
		}
		return set, nil
	}
}

// replaceOne returns old with one setting changed, or removed if value is nil.
func replaceOne(old map[string]string, name string, value *string) map[string]string {
	set := maps.Clone(old)
	if set == nil {
		set = make(map[string]string)
	}
	if value == nil {
		delete(set, name)
	} else {
		set[name] = *value
	}
	return set
}
