// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// InitProducerId (22), versions 0-5, of idempotent producers: each gets an id
// that nobody had before, at epoch 0, also where it tells an older one
// (KIP-360). Not here yet: transactional ids.

func (b *Broker) initProducerID(ctx context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.InitProducerIDRequest)
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	if req.TransactionalID != nil && *req.TransactionalID == "" || (req.ProducerID == -1) != (req.ProducerEpoch == -1) {
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp
	}
	if req.TransactionalID != nil {
		resp.ErrorCode = kerr.UnsupportedVersion.Code
		return resp
	}
	id, err := b.ids.take(ctx)
	if err != nil {
		b.log.Error("init producer id", "err", err)
		resp.ErrorCode = kerr.CoordinatorNotAvailable.Code // retriable, as a full disk may be
		return resp
	}
	resp.ProducerID, resp.ProducerEpoch = id, 0
	return resp
}
