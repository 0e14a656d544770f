// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConsumerGroupDescribe (69), versions 0-1: see package group.

func (b *Broker) consumerGroupDescribe(ctx context.Context, r *request) kmsg.Response {
	return b.groups.ConsumerGroupDescribe(ctx, r.client(), r.Request.(*kmsg.ConsumerGroupDescribeRequest))
}
