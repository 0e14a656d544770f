// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicIDs are the topics of a test broker.
var topicIDs = map[string][16]byte{"orders": {1}, "users": {2}}

func withTopics(cfg Config) Config {
	cfg.TopicID = func(name string) ([16]byte, bool) {
		id, ok := topicIDs[name]
		return id, ok
	}
	cfg.TopicName = func(id [16]byte) (string, bool) {
		for name, i := range topicIDs {
			if i == id {
				return name, true
			}
		}
		return "", false
	}
	return cfg
}

// overTheWire encodes and decodes a response, as a client of its version sees
// it.
func overTheWire[R kmsg.Response](t *testing.T, resp, into R) R {
	t.Helper()
	into.SetVersion(resp.GetVersion())
	if err := into.ReadFrom(resp.AppendTo(nil)); err != nil {
		t.Fatalf("%T v%d does not survive the wire: %v", resp, resp.GetVersion(), err)
	}
	return into
}

// TestEveryVersionOfARebalance takes one member through its life with all
// versions of all requests, each answer over the wire.
func TestEveryVersionOfARebalance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, testConfig(newMemLog()))
		for v := range int16(10) {
			join := joinRequest("g", "")
			join.Version = v
			joined := overTheWire(t, c.JoinGroup(t.Context(), someClient, join), kmsg.NewPtrJoinGroupResponse())
			if v >= 4 {
				if joined.ErrorCode != errMemberIDRequired {
					t.Fatalf("v%d: code %d, want MEMBER_ID_REQUIRED", v, joined.ErrorCode)
				}
				join.MemberID = joined.MemberID
				joined = overTheWire(t, c.JoinGroup(t.Context(), someClient, join), kmsg.NewPtrJoinGroupResponse())
			}
			if joined.ErrorCode != errNone || joined.MemberID == "" || *joined.Protocol != "range" || len(joined.Members) != 1 {
				t.Fatalf("join v%d: %+v", v, joined)
			}
			sync := syncRequest("g", joined.MemberID, joined.Generation, map[string]string{joined.MemberID: "all"})
			sync.Version = min(v, 5)
			if r := overTheWire(t, c.SyncGroup(t.Context(), someClient, sync), kmsg.NewPtrSyncGroupResponse()); string(r.MemberAssignment) != "all" {
				t.Errorf("sync v%d: %+v", sync.Version, r)
			}
			beat := heartbeatRequest("g", joined.MemberID, joined.Generation)
			beat.Version = min(v, 4)
			if r := overTheWire(t, c.Heartbeat(t.Context(), someClient, beat), kmsg.NewPtrHeartbeatResponse()); r.ErrorCode != errNone {
				t.Errorf("heartbeat v%d: code %d", beat.Version, r.ErrorCode)
			}
			describe := kmsg.NewPtrDescribeGroupsRequest()
			describe.Version, describe.Groups = min(v, 6), []string{"g"}
			d := overTheWire(t, c.DescribeGroups(t.Context(), someClient, describe), kmsg.NewPtrDescribeGroupsResponse())
			if d.Groups[0].State != "Stable" || len(d.Groups[0].Members) != 1 || d.Groups[0].Members[0].ClientHost != "/127.0.0.1" {
				t.Errorf("describe v%d: %+v", describe.Version, d)
			}
			leave := kmsg.NewPtrLeaveGroupRequest()
			leave.Version, leave.Group, leave.MemberID = min(v, 5), "g", joined.MemberID
			m := kmsg.NewLeaveGroupRequestMember()
			m.MemberID = joined.MemberID
			leave.Members = append(leave.Members, m)
			if r := overTheWire(t, c.LeaveGroup(t.Context(), someClient, leave), kmsg.NewPtrLeaveGroupResponse()); r.ErrorCode != errNone {
				t.Errorf("leave v%d: code %d", leave.Version, r.ErrorCode)
			}
			list := kmsg.NewPtrListGroupsRequest()
			list.Version, list.StatesFilter = min(v, 5), []string{"empty"}
			list.TypesFilter = []string{"Classic"}
			l := overTheWire(t, c.ListGroups(t.Context(), someClient, list), kmsg.NewPtrListGroupsResponse())
			if len(l.Groups) != 1 || list.Version >= 4 && l.Groups[0].GroupState != "Empty" {
				t.Errorf("list v%d: %+v", list.Version, l)
			}
			del := kmsg.NewPtrDeleteGroupsRequest()
			del.Version, del.Groups = min(v, 2), []string{"g", "unheard"}
			r := overTheWire(t, c.DeleteGroups(t.Context(), someClient, del), kmsg.NewPtrDeleteGroupsResponse())
			if r.Groups[0].ErrorCode != errNone || r.Groups[1].ErrorCode != errGroupIDNotFound {
				t.Errorf("delete v%d: %+v", del.Version, r)
			}
		}
	})
}

func TestEveryVersionOfOffsets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, withTopics(testConfig(newMemLog())))
		for v := int16(2); v <= 10; v++ {
			commit := commitRequest("g", "", -1, "orders", int64(v))
			commit.Version = v
			commit.RetentionTimeMillis = -1
			commit.Topics[0].TopicID = topicIDs["orders"]
			unknown := commit.Topics[0]
			unknown.Topic, unknown.TopicID = "unheard", [16]byte{9}
			commit.Topics = append(commit.Topics, unknown)
			r := overTheWire(t, c.OffsetCommit(t.Context(), someClient, commit), kmsg.NewPtrOffsetCommitResponse())
			want := []int16{errNone, errUnknownTopicOrPartition}
			if v >= 10 {
				want[1] = errUnknownTopicID
			}
			got := []int16{r.Topics[0].Partitions[0].ErrorCode, r.Topics[1].Partitions[0].ErrorCode}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("commit v%d, codes (-want +got): %s", v, diff)
			}
			if offset, _ := fetchOffset(c); offset != int64(v) {
				t.Errorf("offset after commit v%d = %d", v, offset)
			}
		}
		for v := int16(1); v <= 7; v++ {
			req := fetchRequest("g", "orders")
			req.Version = v
			req.Topics[0].Partitions = []int32{0, 1}
			r := overTheWire(t, c.OffsetFetch(t.Context(), someClient, req), kmsg.NewPtrOffsetFetchResponse())
			p := r.Topics[0].Partitions
			if p[0].Offset != 10 || p[1].Offset != -1 || *p[0].Metadata != "note" || v >= 5 && p[0].LeaderEpoch != 5 {
				t.Errorf("fetch v%d: %+v", v, r)
			}
			if req.Topics = nil; v >= 2 { // all
				r := overTheWire(t, c.OffsetFetch(t.Context(), someClient, req), kmsg.NewPtrOffsetFetchResponse())
				if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
					t.Errorf("fetch v%d of all: %+v", v, r)
				}
			}
		}
		for v := int16(8); v <= 10; v++ {
			fetchSeveralGroups(t, c, v)
		}
	})
}

// fetchSeveralGroups asks for named topics of g, all of g, and an unknown group.
func fetchSeveralGroups(t *testing.T, c *Coordinator, v int16) {
	t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version = v
	named, all, unheard := kmsg.NewOffsetFetchRequestGroup(), kmsg.NewOffsetFetchRequestGroup(), kmsg.NewOffsetFetchRequestGroup()
	named.Group, all.Group, unheard.Group = "g", "g", "unheard"
	for _, name := range []string{"users", "unheard", "orders"} {
		rt := kmsg.NewOffsetFetchRequestGroupTopic()
		rt.Topic, rt.TopicID, rt.Partitions = name, topicIDs[name], []int32{0}
		if name == "unheard" {
			rt.TopicID = [16]byte{9}
		}
		named.Topics = append(named.Topics, rt)
	}
	unheard.Topics = named.Topics
	req.Groups = append(req.Groups, named, all, unheard)
	r := overTheWire(t, c.OffsetFetch(t.Context(), someClient, req), kmsg.NewPtrOffsetFetchResponse())

	type row struct {
		Offset int64
		Code   int16
	}
	var got [][]row
	for _, g := range r.Groups {
		var rows []row
		for _, rt := range g.Topics {
			for _, p := range rt.Partitions {
				rows = append(rows, row{p.Offset, p.ErrorCode})
			}
			if v >= 10 && rt.TopicID == ([16]byte{}) || v < 10 && rt.Topic == "" {
				t.Errorf("fetch v%d: topic without a name: %+v", v, rt)
			}
		}
		got = append(got, rows)
	}
	unknown := row{-1, errNone}
	if v >= 10 {
		unknown.Code = errUnknownTopicID
	}
	want := [][]row{{{-1, 0}, unknown, {10, 0}}, {{10, 0}}, {{-1, 0}, unknown, {-1, 0}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fetch v%d (-want +got):\n%s", v, diff)
	}
}

// TestEveryRequestWhileLoading: COORDINATOR_LOAD_IN_PROGRESS where each
// version has the place for it.
func TestEveryRequestWhileLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		log.onReplay = func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("stopped")
		}
		c := start(t, testConfig(log))
		ctx := t.Context()
		leave := kmsg.NewPtrLeaveGroupRequest()
		leave.Version, leave.Group = 5, "g"
		describe := kmsg.NewPtrDescribeGroupsRequest()
		describe.Groups = []string{"g"}
		del := kmsg.NewPtrDeleteGroupsRequest()
		del.Groups = []string{"g"}
		fetch1 := fetchRequest("g", "orders")
		fetch1.Version = 1
		fetch8 := kmsg.NewPtrOffsetFetchRequest()
		fetch8.Version, fetch8.Groups = 8, []kmsg.OffsetFetchRequestGroup{{Group: "g"}}
		for name, code := range map[string]int16{
			"join":      c.JoinGroup(ctx, someClient, joinRequest("g", "")).ErrorCode,
			"sync":      c.SyncGroup(ctx, someClient, syncRequest("g", "a", 1, nil)).ErrorCode,
			"heartbeat": c.Heartbeat(ctx, someClient, heartbeatRequest("g", "a", 1)).ErrorCode,
			"leave":     c.LeaveGroup(ctx, someClient, leave).ErrorCode,
			"commit":    commitOffset(c, 1),
			"describe":  c.DescribeGroups(ctx, someClient, describe).Groups[0].ErrorCode,
			"list":      c.ListGroups(ctx, someClient, kmsg.NewPtrListGroupsRequest()).ErrorCode,
			"delete":    c.DeleteGroups(ctx, someClient, del).Groups[0].ErrorCode,
			"fetch v1":  c.OffsetFetch(ctx, someClient, fetch1).Topics[0].Partitions[0].ErrorCode,
			"fetch v7":  c.OffsetFetch(ctx, someClient, fetchRequest("g", "orders")).ErrorCode,
			"fetch v8":  c.OffsetFetch(ctx, someClient, fetch8).Groups[0].ErrorCode,
		} {
			if code != errCoordinatorLoadInProgress {
				t.Errorf("%s: code %d, want COORDINATOR_LOAD_IN_PROGRESS", name, code)
			}
		}
	})
}

// TestALargeAssignmentIsRefused: one that the log would not take must not make
// the partition unload its other groups.
func TestALargeAssignmentIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		cfg := testConfig(log)
		cfg.MaxRecordBytes = 1000
		c := start(t, cfg)
		join := joinRequest("g", "")
		join.Version = 3
		joined := c.JoinGroup(t.Context(), someClient, join)
		large := string(make([]byte, 1000))
		sync := c.SyncGroup(t.Context(), someClient, syncRequest("g", joined.MemberID, joined.Generation, map[string]string{joined.MemberID: large}))
		if sync.ErrorCode != errUnknownServerError {
			t.Errorf("sync: code %d, want UNKNOWN_SERVER_ERROR", sync.ErrorCode)
		}
		beat := c.Heartbeat(t.Context(), someClient, heartbeatRequest("g", joined.MemberID, joined.Generation))
		if beat.ErrorCode != errRebalanceInProgress {
			t.Errorf("heartbeat: code %d, want REBALANCE_IN_PROGRESS", beat.ErrorCode)
		}
		if log.replays != 1 {
			t.Errorf("the log was replayed %d times, want once", log.replays)
		}
	})
}

func TestPartitionForIsKafkas(t *testing.T) {
	for group, hash := range map[string]int32{ // of Java's String.hashCode
		"":                   0,
		"hello":              99162322,
		"polygenelubricants": -1 << 31,
		"\U0001F600":         1772899, // two UTF-16 units
		"my-streams-app":     -1550722138,
	} {
		want := int32(max(int64(hash), -int64(hash)) % 50)
		if hash == -1<<31 {
			want = 0
		}
		if got := PartitionFor(group, 50); got != want {
			t.Errorf("PartitionFor(%q, 50) = %d, want %d", group, got, want)
		}
	}
}
