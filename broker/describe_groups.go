// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeGroups (15), versions 0-6: see package group.

func (b *Broker) describeGroups(ctx context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.DescribeGroupsRequest)
	resp := b.groups.DescribeGroups(ctx, r.client(), req)
	for i := range resp.Groups {
		if g := &resp.Groups[i]; req.IncludeAuthorizedOperations && g.ErrorCode == 0 {
			g.AuthorizedOperations = groupOperations
		}
	}
	return resp
}
