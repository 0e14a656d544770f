// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeGroups (15), versions 0-6: see package group.

func (b *Broker) describeGroups(ctx context.Context, r *request) kmsg.Response {
	return b.groups.DescribeGroups(ctx, r.client(), r.Request.(*kmsg.DescribeGroupsRequest))
}
