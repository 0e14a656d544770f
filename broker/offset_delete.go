// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetDelete (47), version 0: see package group.

func (b *Broker) offsetDelete(ctx context.Context, r *request) kmsg.Response {
	return b.groups.OffsetDelete(ctx, r.client(), r.Request.(*kmsg.OffsetDeleteRequest))
}
