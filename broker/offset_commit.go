// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetCommit (8), versions 2-10: see package group.

func (b *Broker) offsetCommit(ctx context.Context, r *request) kmsg.Response {
	return b.groups.OffsetCommit(ctx, r.client(), r.Request.(*kmsg.OffsetCommitRequest))
}
