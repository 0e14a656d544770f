// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// LeaveGroup (13), versions 0-5: see package group.

func (b *Broker) leaveGroup(ctx context.Context, r *request) kmsg.Response {
	return b.groups.LeaveGroup(ctx, r.client(), r.Request.(*kmsg.LeaveGroupRequest))
}
