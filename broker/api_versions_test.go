// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
)

func apiVersions(version int16, name string) *kmsg.ApiVersionsRequest {
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = version, name, "1.0"
	return req
}

func TestApiVersionsAnnouncesWhatClientsNegotiate(t *testing.T) {
	b := open(t, broker.Config{})
	want := []string{ // no higher than Apache Kafka 4.3
		"Produce 0-13", "Fetch 4-18", "ListOffsets 1-11", "Metadata 0-13", "OffsetCommit 2-10", "OffsetFetch 1-10",
		"FindCoordinator 0-6", "JoinGroup 0-9", "Heartbeat 0-4", "LeaveGroup 0-5", "SyncGroup 0-5", "DescribeGroups 0-6",
		"ListGroups 0-5", "ApiVersions 0-4", "CreateTopics 2-7", "DeleteTopics 1-6", "DeleteRecords 0-2", "InitProducerID 0-5",
		"OffsetForLeaderEpoch 2-4", "DescribeConfigs 1-4", "AlterConfigs 0-2", "DescribeLogDirs 1-5", "CreatePartitions 0-3", "DeleteGroups 0-2",
		"ElectLeaders 0-2", "IncrementalAlterConfigs 0-1", "OffsetDelete 0-0", "DescribeCluster 0-2", "DescribeProducers 0-0", "ConsumerGroupHeartbeat 0-1", "ConsumerGroupDescribe 0-1",
		"ListConfigResources 0-1", "DescribeTopicPartitions 0-0",
	}
	for v := int16(0); v <= 4; v++ {
		c := dial(t, b)
		resp := do[*kmsg.ApiVersionsResponse](c, apiVersions(v, "a-test"))
		var got []string
		for _, k := range resp.ApiKeys {
			got = append(got, fmt.Sprintf("%s %d-%d", kmsg.NameForKey(k.ApiKey), k.MinVersion, k.MaxVersion))
		}
		if diff := cmp.Diff(want, got); diff != "" || resp.ErrorCode != 0 {
			t.Errorf("v%d: code %d\n%s", v, resp.ErrorCode, diff)
		}
		var supported, finalized []string
		for _, f := range resp.SupportedFeatures {
			supported = append(supported, fmt.Sprintf("%s %d-%d", f.Name, f.MinVersion, f.MaxVersion))
		}
		for _, f := range resp.FinalizedFeatures {
			finalized = append(finalized, fmt.Sprintf("%s %d", f.Name, f.MaxVersionLevel))
		}
		var wantSupported, wantFinalized []string
		if v >= 3 {
			wantFinalized = []string{"group.version 1"}
		}
		if v >= 4 {
			wantSupported = []string{"group.version 0-1"} // before v4 a lowest level of 0 kills clients
		}
		if diff := cmp.Diff(wantSupported, supported) + cmp.Diff(wantFinalized, finalized); diff != "" {
			t.Errorf("v%d: features\n%s", v, diff)
		}
	}
}

func TestApiVersionsOfTheFuture(t *testing.T) {
	b := open(t, broker.Config{})
	c := dial(t, b)
	id := c.send(apiVersions(5, "a-test"))
	old := apiVersions(0, "")
	resp := c.receive(old, id).(*kmsg.ApiVersionsResponse) // in the shape of version 0
	if resp.ErrorCode != kerr.UnsupportedVersion.Code || len(resp.ApiKeys) != 1 || resp.ApiKeys[0].ApiKey != 18 || resp.ApiKeys[0].MaxVersion != 4 {
		t.Errorf("answer to v5: code %d, %+v", resp.ErrorCode, resp.ApiKeys)
	}
	if resp := do[*kmsg.ApiVersionsResponse](c, apiVersions(4, "a-test")); resp.ErrorCode != 0 { // the connection lives
		t.Errorf("v4 afterwards: code %d", resp.ErrorCode)
	}
	for _, name := range []string{"", "-x", "a b", "x-"} {
		if resp := do[*kmsg.ApiVersionsResponse](c, apiVersions(3, name)); resp.ErrorCode != kerr.InvalidRequest.Code {
			t.Errorf("software name %q: code %d", name, resp.ErrorCode)
		}
	}
}
