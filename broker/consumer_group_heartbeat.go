// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConsumerGroupHeartbeat (68), versions 0-1: see package group.

func (b *Broker) consumerGroupHeartbeat(ctx context.Context, r *request) kmsg.Response {
	return b.groups.ConsumerGroupHeartbeat(ctx, r.client(), r.Request.(*kmsg.ConsumerGroupHeartbeatRequest))
}
