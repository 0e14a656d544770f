// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"regexp"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ApiVersions (18), versions 0-4. No features are announced, since there are
// none yet: so no transactions of version 2, no KIP-848 groups.

// softwareName is what KIP-511 allows as name and version of a client.
var softwareName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

func (b *Broker) apiVersions(_ context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.ApiVersionsRequest)
	resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
	if req.Version >= 3 && !(softwareName.MatchString(req.ClientSoftwareName) && softwareName.MatchString(req.ClientSoftwareVersion)) {
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp
	}
	for _, a := range apis() {
		resp.ApiKeys = append(resp.ApiKeys, versionsOf(a))
	}
	return resp
}

func versionsOf(a api) kmsg.ApiVersionsResponseApiKey {
	k := kmsg.NewApiVersionsResponseApiKey()
	k.ApiKey, k.MinVersion, k.MaxVersion = a.key.Int16(), a.min, a.max
	if a.from0 {
		k.MinVersion = 0
	}
	return k
}

// unsupportedApiVersions answers a version of ApiVersions that this broker does
// not know, in version 0, which everybody reads, with the range that it knows.
func unsupportedApiVersions() *kmsg.ApiVersionsResponse {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ErrorCode = kerr.UnsupportedVersion.Code
	for _, a := range apis() {
		if a.key == kmsg.ApiVersions {
			resp.ApiKeys = append(resp.ApiKeys, versionsOf(a))
		}
	}
	return resp
}
