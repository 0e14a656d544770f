// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetCommit (8), versions 2-10: see package group.

func (b *Broker) offsetCommit(ctx context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.OffsetCommitRequest)
	req.Topics = slices.DeleteFunc(req.Topics, func(t kmsg.OffsetCommitRequestTopic) bool { return len(t.Partitions) == 0 })
	return b.groups.OffsetCommit(ctx, r.client(), req)
}
