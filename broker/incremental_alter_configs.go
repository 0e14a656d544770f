// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// IncrementalAlterConfigs (44), versions 0-1: SET and DELETE of all options,
// APPEND and SUBTRACT of lists. The changes of one resource are made all or none.

func (b *Broker) incrementalAlterConfigs(ctx context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.IncrementalAlterConfigsRequest)
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	times := make(map[resource]int)
	for i := range req.Resources {
		times[resource{req.Resources[i].ResourceType, req.Resources[i].ResourceName}]++
	}
	for i := range req.Resources {
		q := &req.Resources[i]
		a := kmsg.NewIncrementalAlterConfigsResponseResource()
		a.ResourceType, a.ResourceName = q.ResourceType, q.ResourceName
		rs := resource{q.ResourceType, q.ResourceName}
		err := errNamedTwice
		if times[rs] == 1 {
			err = b.changeConfig(ctx, rs, b.changeSome(rs, q.Configs), req.ValidateOnly)
		}
		a.ErrorCode, a.ErrorMessage = codeOf(err), message(err)
		b.logConfigError(rs, err)
		resp.Resources = append(resp.Resources, a)
	}
	return resp
}

// changeSome changes what is named, in order. To remove what is unknown is
// allowed: it leaves nothing behind that somebody could rely on.
func (b *Broker) changeSome(r resource, changes []kmsg.IncrementalAlterConfigsRequestResourceConfig) configChange {
	return func(old map[string]string) (map[string]string, error) {
		seen := make(map[string]bool)
		for _, c := range changes {
			if seen[c.Name] || c.Value == nil && c.Op != kmsg.IncrementalAlterConfigOpDelete {
				return nil, fmt.Errorf("%w: %.100q is there twice, or null", errBadChange, c.Name)
			}
			seen[c.Name] = true
		}
		set := old
		for i := range changes {
			c := &changes[i]
			var value *string
			if c.Op != kmsg.IncrementalAlterConfigOpDelete {
				var err error
				if value, err = b.changed(r, set, c); err != nil {
					return nil, err
				}
			}
			set = replaceOne(set, c.Name, value)
		}
		return set, nil
	}
}

// changed is the new value of an option.
func (b *Broker) changed(r resource, set map[string]string, c *kmsg.IncrementalAlterConfigsRequestResourceConfig) (*string, error) {
	o, err := r.option(c.Name)
	if err != nil {
		return nil, err
	}
	var value string
	switch c.Op {
	case kmsg.IncrementalAlterConfigOpSet:
		value = *c.Value
	case kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract:
		if o.kind != typeList {
			return nil, fmt.Errorf("%w: can't append to or subtract from %s, which is no list", errInvalidConfig, c.Name)
		}
		before, ok := set[c.Name]
		if !ok {
			before, _ = (&layers{brokerLayers: &brokerLayers{cfg: &b.cfg}}).value(o)
		}
		value = changeList(before, *c.Value, c.Op == kmsg.IncrementalAlterConfigOpAppend)
	default:
		return nil, fmt.Errorf("%w: operation %d", errBadChange, c.Op)
	}
	return &value, r.checkValue(o, c.Name, value)
}

// changeList adds the elements of one list to another, or takes them out.
func changeList(before, elems string, add bool) string {
	list := elements(before)
	for _, e := range elements(elems) {
		has := slices.Contains(list, e)
		if add && !has {
			list = append(list, e)
		} else if !add && has {
			list = slices.DeleteFunc(list, func(x string) bool { return x == e })
		}
	}
	return strings.Join(list, ",")
}
