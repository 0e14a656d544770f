// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConsumerGroupHeartbeat is all that a member of a consumer group says: see
// consumerHeartbeatEvent. It answers when what it changed is in the log.
func (c *Coordinator) ConsumerGroupHeartbeat(ctx context.Context, client Client, req *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	return one(ctx, c, c.partitionOf(req.Group), func(t token) event {
		return consumerHeartbeatEvent{token: t, client: client, req: req, fresh: newUUID()}
	}, func(code int16) *kmsg.ConsumerGroupHeartbeatResponse {
		return consumerHeartbeatFailure(req.Version, fault{code: code})
	})
}

// ConsumerGroupDescribe describes the consumer groups named, each with an error
// of its own. What operations the client may do is the caller's to fill in.
func (c *Coordinator) ConsumerGroupDescribe(ctx context.Context, _ Client, req *kmsg.ConsumerGroupDescribeRequest) *kmsg.ConsumerGroupDescribeResponse {
	resp := kmsg.NewPtrConsumerGroupDescribeResponse()
	resp.Version = req.Version
	calls := make([]*call, len(req.Groups))
	for i, id := range req.Groups {
		calls[i] = c.ask(ctx, c.partitionOf(id), func(t token) event {
			return consumerDescribeEvent{token: t, group: id}
		})
	}
	for i, id := range req.Groups {
		a := calls[i].wait(ctx, c.partitionOf(id))
		d, ok := a.body.(kmsg.ConsumerGroupDescribeResponseGroup)
		if !ok {
			d = describeFailure(id, fault{code: a.code})
		}
		resp.Groups = append(resp.Groups, d)
	}
	return resp
}

// OffsetDelete forgets offsets of a group, and answers when that is in the log.
func (c *Coordinator) OffsetDelete(ctx context.Context, _ Client, req *kmsg.OffsetDeleteRequest) *kmsg.OffsetDeleteResponse {
	return one(ctx, c, c.partitionOf(req.Group), func(t token) event {
		return offsetDeleteEvent{token: t, req: req, exists: c.cfg.PartitionExists}
	}, func(code int16) *kmsg.OffsetDeleteResponse {
		resp := kmsg.NewPtrOffsetDeleteResponse()
		resp.ErrorCode = code
		return resp
	})
}
