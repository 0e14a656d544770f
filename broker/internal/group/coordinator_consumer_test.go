// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// withPicture adds the topics of a test broker, orders and users.
func withPicture(cfg Config) Config {
	topics := NewTopics([]Topic{{"orders", topicIDs["orders"], 4}, {"users", topicIDs["users"], 2}})
	cfg.Topics = func() *Topics { return topics }
	return withTopics(cfg)
}

func consumerJoin(group, member string) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID = 1, group, member
	req.RebalanceTimeoutMillis = 60_000
	req.SubscribedTopicNames = []string{"orders"}
	req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	return req
}

// TestEveryVersionOfAConsumerGroup takes a member through its life with all
// versions of all requests, each answer over the wire.
func TestEveryVersionOfAConsumerGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, withPicture(testConfig(newMemLog())))
		for v := range int16(2) {
			join := consumerJoin("g", "")
			join.Version = v
			if v > 0 { // since v1 the member makes its id
				if r := c.ConsumerGroupHeartbeat(t.Context(), someClient, join); r.ErrorCode != errInvalidRequest || r.ErrorMessage == nil {
					t.Errorf("v%d without an id: %+v", v, r)
				}
				join.MemberID = "me"
			}
			joined := overTheWire(t, c.ConsumerGroupHeartbeat(t.Context(), someClient, join), kmsg.NewPtrConsumerGroupHeartbeatResponse())
			if joined.ErrorCode != errNone || joined.MemberID == nil || *joined.MemberID == "" || joined.MemberEpoch < 1 ||
				joined.HeartbeatIntervalMillis != 5000 || len(joined.Assignment.Topics) != 1 || len(joined.Assignment.Topics[0].Partitions) != 4 {
				t.Fatalf("join v%d: %+v", v, joined)
			}
			describe := kmsg.NewPtrConsumerGroupDescribeRequest()
			describe.Version, describe.Groups = v, []string{"g", "unheard", ""}
			d := overTheWire(t, c.ConsumerGroupDescribe(t.Context(), someClient, describe), kmsg.NewPtrConsumerGroupDescribeResponse()).Groups
			if d[0].State != "Stable" || len(d[0].Members) != 1 || d[0].Members[0].MemberID != *joined.MemberID ||
				d[0].Members[0].Assignment.TopicPartitions[0].Topic != "orders" || d[1].ErrorCode != errGroupIDNotFound || d[2].ErrorCode != errInvalidGroupID {
				t.Errorf("describe v%d: %+v", v, d)
			}
			for cv := int16(9); cv <= 10; cv++ {
				commit := commitRequest("g", *joined.MemberID, joined.MemberEpoch, "orders", int64(cv))
				commit.Version, commit.Topics[0].TopicID = cv, topicIDs["orders"]
				if r := overTheWire(t, c.OffsetCommit(t.Context(), someClient, commit), kmsg.NewPtrOffsetCommitResponse()); r.Topics[0].Partitions[0].ErrorCode != errNone {
					t.Errorf("commit v%d: %+v", cv, r)
				}
				fetch := kmsg.NewPtrOffsetFetchRequest()
				fetch.Version = cv
				fg := kmsg.NewOffsetFetchRequestGroup()
				fg.Group, fg.MemberID, fg.MemberEpoch = "g", joined.MemberID, joined.MemberEpoch
				fetch.Groups = append(fetch.Groups, fg)
				stale := fg
				stale.MemberEpoch++
				fetch.Groups = append(fetch.Groups, stale)
				r := overTheWire(t, c.OffsetFetch(t.Context(), someClient, fetch), kmsg.NewPtrOffsetFetchResponse())
				if r.Groups[0].Topics[0].Partitions[0].Offset != int64(cv) || r.Groups[1].ErrorCode != errStaleMemberEpoch {
					t.Errorf("fetch v%d: %+v", cv, r)
				}
			}
			list := kmsg.NewPtrListGroupsRequest()
			list.Version, list.TypesFilter = 5, []string{"Consumer"}
			l := overTheWire(t, c.ListGroups(t.Context(), someClient, list), kmsg.NewPtrListGroupsResponse())
			if len(l.Groups) != 1 || l.Groups[0].GroupType != "consumer" || l.Groups[0].ProtocolType != "consumer" || l.Groups[0].GroupState != "Stable" {
				t.Errorf("list: %+v", l)
			}
			leave := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			leave.Version, leave.Group, leave.MemberID, leave.MemberEpoch = v, "g", *joined.MemberID, -1
			if r := overTheWire(t, c.ConsumerGroupHeartbeat(t.Context(), someClient, leave), kmsg.NewPtrConsumerGroupHeartbeatResponse()); r.ErrorCode != errNone || r.MemberEpoch != -1 {
				t.Errorf("leave v%d: %+v", v, r)
			}
			del := kmsg.NewPtrOffsetDeleteRequest()
			del.Group = "g"
			dt := kmsg.NewOffsetDeleteRequestTopic()
			dt.Topic = "orders"
			dt.Partitions = []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}
			del.Topics = append(del.Topics, dt)
			if r := overTheWire(t, c.OffsetDelete(t.Context(), someClient, del), kmsg.NewPtrOffsetDeleteResponse()); r.ErrorCode != errNone || r.Topics[0].Partitions[0].ErrorCode != errNone {
				t.Errorf("delete offsets: %+v", r)
			}
			if offset, _ := fetchOffset(c); offset != -1 {
				t.Errorf("offset %d after it was deleted", offset)
			}
		}
	})
}

// TestTheRecordsOfAStepStayTogether: a group is never half of what it was to be,
// whichever append fails.
func TestTheRecordsOfAStepStayTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		cfg := withPicture(testConfig(log))
		cfg.MaxRecordBytes = 700 // a join writes about 300
		c := start(t, cfg)
		free := make(chan struct{})
		appends := 0
		log.setFault(func(_ context.Context, recs []Record) (int, error) {
			if appends++; appends == 1 {
				<-free // the others gather meanwhile
			}
			first, last := binary.BigEndian.Uint16(recs[0].Key), binary.BigEndian.Uint16(recs[len(recs)-1].Key)
			if first != keyMember || last != keyCurrent {
				t.Errorf("an append from %s to %s", describeRecord(recs[0]), describeRecord(recs[len(recs)-1]))
			}
			return len(recs), nil
		})
		done := make(chan int16)
		for _, group := range []string{"a", "b", "c", "d", "e", "f"} {
			go func() { done <- c.ConsumerGroupHeartbeat(t.Context(), someClient, consumerJoin(group, "m")).ErrorCode }()
		}
		synctest.Wait()
		close(free)
		for range 6 {
			if code := <-done; code != errNone {
				t.Errorf("join: code %d", code)
			}
		}
		if appends < 3 || appends > 5 {
			t.Errorf("%d appends", appends)
		}
	})
}

// TestOffsetsOfMissingTopicsAreDroppedAtLoad: the broker died between the
// deletion of a topic and its tombstones.
func TestOffsetsOfMissingTopicsAreDroppedAtLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		for _, topic := range []string{"orders", "gone"} {
			log.recs[0] = append(log.recs[0], offsetRecord("g", topicPartition{topic, 0}, committed{offset: 7, expireTime: -1}))
		}
		c := start(t, withTopics(testConfig(log)))
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Version, req.Group = 7, "g"
		r := c.OffsetFetch(t.Context(), someClient, req)
		if len(r.Topics) != 1 || r.Topics[0].Topic != "orders" {
			t.Errorf("fetched %+v", r.Topics)
		}
		last := log.recs[0][len(log.recs[0])-1]
		if got, want := describeRecord(last), "offset g gone/0 deleted"; got != want {
			t.Errorf("the log ends with %q, want %q", got, want)
		}
	})
}

// TestNewTopicsAreSeen: a member hears of partitions with its next heartbeat.
func TestNewTopicsAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var topics atomic.Pointer[Topics]
		topics.Store(NewTopics(nil))
		cfg := testConfig(newMemLog())
		cfg.Topics = topics.Load
		c := start(t, cfg)
		if r := c.ConsumerGroupHeartbeat(t.Context(), someClient, consumerJoin("g", "m")); r.ErrorCode != errNone || len(r.Assignment.Topics) != 0 {
			t.Fatalf("join: %+v", r)
		}
		beat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		beat.Version, beat.Group, beat.MemberID, beat.MemberEpoch = 1, "g", "m", 1
		if r := c.ConsumerGroupHeartbeat(t.Context(), someClient, beat); r.ErrorCode != errNone || r.Assignment != nil || r.MemberEpoch != 1 {
			t.Errorf("before: %+v", r)
		}
		topics.Store(NewTopics([]Topic{{"orders", [16]byte{1}, 2}}))
		if r := c.ConsumerGroupHeartbeat(t.Context(), someClient, beat); r.Assignment == nil || len(r.Assignment.Topics[0].Partitions) != 2 || r.MemberEpoch != 2 {
			t.Errorf("after: %+v", r)
		}
	})
}
