// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteGroups (42), versions 0-2: see package group.

func (b *Broker) deleteGroups(ctx context.Context, r *request) kmsg.Response {
	return b.groups.DeleteGroups(ctx, r.client(), r.Request.(*kmsg.DeleteGroupsRequest))
}
