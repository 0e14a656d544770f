// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeCluster (60), versions 0-2, of brokers: there are no controllers to
// tell of.

// The kinds of nodes that a client may ask for.
const (
	brokerEndpoints     = 1
	controllerEndpoints = 2
)

func (b *Broker) describeCluster(_ context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.DescribeClusterRequest)
	resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
	resp.EndpointType = brokerEndpoints
	resp.ControllerID = -1
	if req.Version >= 1 && req.EndpointType != brokerEndpoints {
		err := kerr.UnsupportedEndpointType
		if req.EndpointType == controllerEndpoints {
			err = kerr.MismatchedEndpointType
		}
		resp.ErrorCode, resp.ErrorMessage = err.Code, &err.Description
		return resp
	}
	resp.ClusterID, resp.ControllerID = b.topics.clusterID, b.cfg.NodeID
	node := kmsg.NewDescribeClusterResponseBroker()
	node.NodeID, node.Host, node.Port = b.cfg.NodeID, b.host, b.port
	resp.Brokers = append(resp.Brokers, node)
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	return resp
}
