// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
)

func TestFindCoordinator(t *testing.T) {
	b := open(t, broker.Config{})
	c := dial(t, b)
	for v := int16(0); v <= 6; v++ {
		req := withVersion(kmsg.NewPtrFindCoordinatorRequest(), v)
		req.CoordinatorKey, req.CoordinatorKeys = "g", []string{"g", "h"}
		resp := do[*kmsg.FindCoordinatorResponse](c, req)
		if v < 4 && (resp.ErrorCode != 0 || resp.NodeID != 1 || resp.Host != "millrace.invalid" || resp.Port != 9092) {
			t.Errorf("v%d: %+v", v, resp)
		}
		if v >= 4 && (len(resp.Coordinators) != 2 || resp.Coordinators[1].Key != "h" || resp.Coordinators[1].NodeID != 1) {
			t.Errorf("v%d: %+v", v, resp.Coordinators)
		}
	}
	req := withVersion(kmsg.NewPtrFindCoordinatorRequest(), 3)
	req.CoordinatorType = 1
	if resp := do[*kmsg.FindCoordinatorResponse](c, req); resp.ErrorCode != kerr.UnsupportedVersion.Code || kerr.IsRetriable(kerr.ErrorForCode(resp.ErrorCode)) {
		t.Errorf("transactions: code %d must be one that clients give up on", resp.ErrorCode)
	}
}

func TestListOffsetsErrors(t *testing.T) {
	b := open(t, broker.Config{})
	c := dial(t, b)
	mustCreate(c, "t", 1)
	mustProduce(c, "t", "a", "b") // at 1000 and 1001 ms
	ask := func(partition, epoch int32, timestamp int64, times int) kmsg.ListOffsetsResponseTopicPartition {
		req := withVersion(kmsg.NewPtrListOffsetsRequest(), 9)
		rt := kmsg.ListOffsetsRequestTopic{Topic: "t"}
		for range times {
			rt.Partitions = append(rt.Partitions, kmsg.ListOffsetsRequestTopicPartition{Partition: partition, CurrentLeaderEpoch: epoch, Timestamp: timestamp})
		}
		req.Topics = append(req.Topics, rt)
		return do[*kmsg.ListOffsetsResponse](c, req).Topics[0].Partitions[0]
	}
	tests := []struct {
		name             string
		partition, epoch int32
		timestamp        int64
		times            int
		offset           int64
		code             *kerr.Error
	}{
		{name: "latest", epoch: -1, timestamp: -1, times: 1, offset: 2},
		{name: "earliest", epoch: 0, timestamp: -2, times: 1, offset: 0},
		{name: "earliest local", epoch: 0, timestamp: -4, times: 1, offset: 0},
		{name: "tiered", epoch: 0, timestamp: -5, times: 1, offset: -1},
		{name: "pending upload, which needs version 11", epoch: 0, timestamp: -6, times: 1, offset: -1, code: kerr.UnsupportedVersion},
		{name: "by time", epoch: 0, timestamp: 1001, times: 1, offset: 1},
		{name: "by a time to come", epoch: 0, timestamp: 1002, times: 1, offset: -1},
		{name: "unknown partition", partition: 1, epoch: -1, timestamp: -1, times: 1, offset: -1, code: kerr.UnknownTopicOrPartition},
		{name: "unknown epoch", epoch: 3, timestamp: -1, times: 1, offset: -1, code: kerr.UnknownLeaderEpoch},
		{name: "a timestamp without meaning", epoch: -1, timestamp: -9, times: 1, offset: -1, code: kerr.UnsupportedVersion},
		{name: "asked twice", epoch: -1, timestamp: -1, times: 2, offset: -1, code: kerr.InvalidRequest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := ask(tt.partition, tt.epoch, tt.timestamp, tt.times)
			if p.Offset != tt.offset || !isCode(p.ErrorCode, tt.code) {
				t.Errorf("offset %d, code %d; want %d, %v", p.Offset, p.ErrorCode, tt.offset, tt.code)
			}
		})
	}
}

func TestOffsetForLeaderEpochOfTheFuture(t *testing.T) {
	b := open(t, broker.Config{})
	c := dial(t, b)
	mustCreate(c, "t", 1)
	mustProduce(c, "t", "a")
	for _, tt := range []struct {
		epoch, want int32
		end         int64
	}{{0, 0, 1}, {7, -1, -1}} {
		req := withVersion(kmsg.NewPtrOffsetForLeaderEpochRequest(), 4)
		q := kmsg.OffsetForLeaderEpochRequestTopicPartition{CurrentLeaderEpoch: -1, LeaderEpoch: tt.epoch}
		req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{q}}}
		if p := do[*kmsg.OffsetForLeaderEpochResponse](c, req).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.LeaderEpoch != tt.want || p.EndOffset != tt.end {
			t.Errorf("epoch %d: epoch %d ended at %d, code %d; want %d, %d", tt.epoch, p.LeaderEpoch, p.EndOffset, p.ErrorCode, tt.want, tt.end)
		}
	}
}

func TestProducerIDsAreUnique(t *testing.T) {
	b := open(t, broker.Config{})
	var mu sync.Mutex
	seen := make(map[int64]bool)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			c := dial(t, b)
			for range 600 { // together more than a block
				id := do[*kmsg.InitProducerIDResponse](c, withVersion(kmsg.NewPtrInitProducerIDRequest(), 5)).ProducerID
				mu.Lock()
				if seen[id] {
					t.Errorf("producer id %d was given out twice", id)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	req := withVersion(kmsg.NewPtrInitProducerIDRequest(), 5)
	req.TransactionalID = kmsg.StringPtr("tx")
	if resp := do[*kmsg.InitProducerIDResponse](dial(t, b), req); resp.ErrorCode != kerr.UnsupportedVersion.Code || resp.ProducerID != -1 {
		t.Errorf("transactional: id %d, code %d", resp.ProducerID, resp.ErrorCode)
	}
}

func TestDescribeCluster(t *testing.T) {
	b := open(t, broker.Config{Advertise: "broker.example:1234", NodeID: 5})
	c := dial(t, b)
	for v := int16(0); v <= 2; v++ {
		req := withVersion(kmsg.NewPtrDescribeClusterRequest(), v)
		resp := do[*kmsg.DescribeClusterResponse](c, req)
		if resp.ErrorCode != 0 || len(resp.ClusterID) != 22 || resp.ControllerID != 5 || len(resp.Brokers) != 1 ||
			resp.Brokers[0].NodeID != 5 || resp.Brokers[0].Host != "broker.example" || resp.Brokers[0].Port != 1234 {
			t.Errorf("v%d: %+v", v, resp)
		}
	}
	req := withVersion(kmsg.NewPtrDescribeClusterRequest(), 1)
	req.EndpointType = 2
	if resp := do[*kmsg.DescribeClusterResponse](c, req); resp.ErrorCode != kerr.MismatchedEndpointType.Code {
		t.Errorf("controllers: code %d", resp.ErrorCode)
	}
}

func TestDeleteRecordsErrors(t *testing.T) {
	b := open(t, broker.Config{})
	c := dial(t, b)
	mustCreate(c, "t", 1)
	mustCreate(c, "compacted", 1, "cleanup.policy", "compact")
	mustProduce(c, "t", "a", "b", "c")
	ask := func(topic string, partition int32, offset int64) (int64, int16) {
		req := withVersion(kmsg.NewPtrDeleteRecordsRequest(), 2)
		req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: partition, Offset: offset}}}}
		p := do[*kmsg.DeleteRecordsResponse](c, req).Topics[0].Partitions[0]
		return p.LowWatermark, p.ErrorCode
	}
	for _, tt := range []struct {
		topic     string
		partition int32
		offset    int64
		low       int64
		code      int16
	}{
		{"t", 0, 4, -1, kerr.OffsetOutOfRange.Code},
		{"t", 0, -2, -1, kerr.OffsetOutOfRange.Code},
		{"t", 1, 0, -1, kerr.UnknownTopicOrPartition.Code},
		{"nope", 0, 0, -1, kerr.UnknownTopicOrPartition.Code},
		{"compacted", 0, 0, -1, kerr.PolicyViolation.Code},
		{"__consumer_offsets", 0, 0, -1, kerr.InvalidTopicException.Code},
		{"t", 0, 2, 2, 0},
		{"t", 0, 1, 2, 0},
		{"t", 0, -1, 3, 0},
	} {
		if low, code := ask(tt.topic, tt.partition, tt.offset); low != tt.low || code != tt.code {
			t.Errorf("%s-%d before %d: low watermark %d, code %d; want %d, %d", tt.topic, tt.partition, tt.offset, low, code, tt.low, tt.code)
		}
	}
	if p := fetch(c, "t", 1); p.ErrorCode != kerr.OffsetOutOfRange.Code || p.LogStartOffset != -1 {
		t.Errorf("fetch of what was deleted: code %d, log start offset %d", p.ErrorCode, p.LogStartOffset)
	}
}
