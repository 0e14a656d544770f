// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// JoinGroup (11), versions 0-9: see package group.

func (b *Broker) joinGroup(ctx context.Context, r *request) kmsg.Response {
	return b.groups.JoinGroup(ctx, r.client(), r.Request.(*kmsg.JoinGroupRequest))
}
