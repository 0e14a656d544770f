// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// FindCoordinator (10), versions 0-6. Groups only: there is no coordinator of
// transactions or of share groups yet.

// Types of coordinators.
const (
	groupCoordinator       = 0
	transactionCoordinator = 1
	shareCoordinator       = 2 // of share groups, which are not there
)

func (b *Broker) findCoordinator(_ context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.FindCoordinatorRequest)
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
	keys := req.CoordinatorKeys
	if req.Version < 4 {
		keys = []string{req.CoordinatorKey}
	}
	for _, key := range keys {
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key, c.NodeID, c.Host, c.Port = key, b.cfg.NodeID, b.host, b.port
		c.ErrorMessage = new(string) // never null, as in Kafka
		if err := coordinatorError(req.CoordinatorType); err != nil {
			if c.ErrorCode = err.Code; req.CoordinatorType != shareCoordinator || req.Version < 4 {
				c.ErrorMessage = &err.Description
			}
			c.NodeID, c.Host, c.Port = -1, "", -1
		}
		resp.Coordinators = append(resp.Coordinators, c)
	}
	if req.Version < 4 {
		c := resp.Coordinators[0]
		resp.ErrorCode, resp.ErrorMessage = c.ErrorCode, c.ErrorMessage
		if c.ErrorCode == 0 {
			resp.ErrorMessage = kmsg.StringPtr("NONE")
		}
		resp.NodeID, resp.Host, resp.Port = c.NodeID, c.Host, c.Port
	}
	return resp
}

// coordinatorError must not be retriable: clients would ask for ever.
func coordinatorError(kind int8) *kerr.Error {
	switch kind {
	case groupCoordinator:
		return nil
	case transactionCoordinator:
		return kerr.UnsupportedVersion
	default:
		return kerr.InvalidRequest
	}
}
