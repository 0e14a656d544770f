// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetFetch (9), versions 1-10: see package group.

func (b *Broker) offsetFetch(ctx context.Context, r *request) kmsg.Response {
	return b.groups.OffsetFetch(ctx, r.client(), r.Request.(*kmsg.OffsetFetchRequest))
}
