// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"regexp"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ApiVersions (18), versions 0-4.

// A feature is one that clients ask for by name and level (KIP-584).
type feature struct {
	name     string
	min, max int16 // levels that could be chosen
	level    int16 // that is in force
}

// features has those of this broker. Levels can't be changed: their epoch is 0.
// There are no transactions of version 2 yet.
func features() []feature {
	return []feature{
		{name: "group.version", min: 0, max: 1, level: 1}, // KIP-848 consumer groups
	}
}

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
	resp.FinalizedFeaturesEpoch = 0
	for _, f := range features() {
		// Clients before v4 fail at a lowest level of 0 (KAFKA-17492).
		if f.min > 0 || req.Version >= 4 {
			s := kmsg.NewApiVersionsResponseSupportedFeature()
			s.Name, s.MinVersion, s.MaxVersion = f.name, f.min, f.max
			resp.SupportedFeatures = append(resp.SupportedFeatures, s)
		}
		n := kmsg.NewApiVersionsResponseFinalizedFeature()
		n.Name, n.MinVersionLevel, n.MaxVersionLevel = f.name, f.level, f.level
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, n)
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
