// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Heartbeat (12), versions 0-4: see package group.

func (b *Broker) heartbeat(ctx context.Context, r *request) kmsg.Response {
	return b.groups.Heartbeat(ctx, r.client(), r.Request.(*kmsg.HeartbeatRequest))
}
