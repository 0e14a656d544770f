// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// SyncGroup (14), versions 0-5: see package group.

func (b *Broker) syncGroup(ctx context.Context, r *request) kmsg.Response {
	return b.groups.SyncGroup(ctx, r.client(), r.Request.(*kmsg.SyncGroupRequest))
}
