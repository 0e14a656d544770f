// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListConfigResources (74), versions 0-1: topics, this broker, and the groups that
// have configs of their own. Of version 0,
// which asks for the subscriptions of clients to metrics, there are none.

func (b *Broker) listConfigResources(_ context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.ListConfigResourcesRequest)
	resp := req.ResponseKind().(*kmsg.ListConfigResourcesResponse)
	resp.ConfigResources = []kmsg.ListConfigResourcesResponseConfigResource{}
	if req.Version == 0 {
		return resp
	}
	for _, kind := range req.ResourceTypes {
		if !slices.Contains(listedKinds, kmsg.ConfigResourceType(kind)) {
			resp.ErrorCode = kerr.UnsupportedVersion.Code
			return resp
		}
	}
	add := func(kind kmsg.ConfigResourceType, names ...string) {
		if len(req.ResourceTypes) > 0 && !slices.Contains(req.ResourceTypes, int8(kind)) {
			return
		}
		for _, name := range names {
			c := kmsg.NewListConfigResourcesResponseConfigResource()
			c.Name, c.Type = name, int8(kind)
			resp.ConfigResources = append(resp.ConfigResources, c)
		}
	}
	add(kmsg.ConfigResourceTypeGroupConfig, b.topics.configuredGroups()...)
	add(kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(b.cfg.NodeID)))
	for _, t := range b.topics.all() {
		add(kmsg.ConfigResourceTypeTopic, t.name)
	}
	return resp
}

// listedKinds are those that may be asked for.
var listedKinds = []kmsg.ConfigResourceType{
	kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger,
	kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig,
}
