// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConsumerGroupDescribe (69), versions 0-1: see package group.

func (b *Broker) consumerGroupDescribe(ctx context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.ConsumerGroupDescribeRequest)
	resp := b.groups.ConsumerGroupDescribe(ctx, r.client(), req)
	for i := range resp.Groups {
		if g := &resp.Groups[i]; req.IncludeAuthorizedOperations && g.ErrorCode == 0 {
			g.AuthorizedOperations = groupOperations
		}
	}
	return resp
}
