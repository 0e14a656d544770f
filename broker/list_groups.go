// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListGroups (16), versions 0-5: see package group.

func (b *Broker) listGroups(ctx context.Context, r *request) kmsg.Response {
	return b.groups.ListGroups(ctx, r.client(), r.Request.(*kmsg.ListGroupsRequest))
}
