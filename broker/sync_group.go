// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// SyncGroup (14), versions 0-5: see package group.

func (b *Broker) syncGroup(ctx context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.SyncGroupRequest)
	if req.Version >= 5 && (req.ProtocolType == nil || req.Protocol == nil) { // KIP-559
		resp := req.ResponseKind().(*kmsg.SyncGroupResponse)
		resp.ErrorCode = kerr.InconsistentGroupProtocol.Code
		return resp
	}
	return b.groups.SyncGroup(ctx, r.client(), req)
}
