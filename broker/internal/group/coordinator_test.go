// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// testConfig returns a config over log with one partition and no noise.
func testConfig(log OffsetsLog) Config {
	return Config{Log: log, Partitions: 1, Logger: slog.New(slog.DiscardHandler)}
}

// start runs a coordinator over log until the test ends, and waits until it
// has loaded.
func start(t *testing.T, cfg Config) *Coordinator {
	t.Helper()
	c := New(cfg)
	c.Start(t.Context())
	t.Cleanup(c.Close)
	synctest.Wait()
	return c
}

var someClient = Client{ID: "app", Host: "/127.0.0.1"}

func joinRequest(group, member string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version = 9
	req.Group, req.MemberID = group, member
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 60_000
	req.ProtocolType = "consumer"
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", subscribe("orders")
	req.Protocols = append(req.Protocols, p)
	return req
}

// subscribe returns the metadata of a consumer of topics.
func subscribe(topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Topics = topics
	return m.AppendTo(nil)
}

func syncRequest(group, member string, generation int32, assign map[string]string) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version = 5
	req.Group, req.MemberID, req.Generation = group, member, generation
	for id, a := range assign {
		ga := kmsg.NewSyncGroupRequestGroupAssignment()
		ga.MemberID, ga.MemberAssignment = id, []byte(a)
		req.GroupAssignment = append(req.GroupAssignment, ga)
	}
	return req
}

func commitRequest(group, member string, generation int32, topic string, offset int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version = 9
	req.Group, req.MemberID, req.Generation = group, member, generation
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = topic
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset, p.LeaderEpoch, p.Metadata = offset, 5, kmsg.StringPtr("note")
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func fetchRequest(group, topic string) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version = 7
	req.Group = group
	t := kmsg.NewOffsetFetchRequestTopic()
	t.Topic, t.Partitions = topic, []int32{0}
	req.Topics = append(req.Topics, t)
	return req
}

func heartbeatRequest(group, member string, generation int32) *kmsg.HeartbeatRequest {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version = 4
	req.Group, req.MemberID, req.Generation = group, member, generation
	return req
}

// commitOffset commits and returns the code of the one partition.
func commitOffset(c *Coordinator, offset int64) int16 {
	resp := c.OffsetCommit(context.Background(), someClient, commitRequest("g", "", -1, "orders", offset))
	return resp.Topics[0].Partitions[0].ErrorCode
}

// fetchOffset returns the offset of the one partition, and its code.
func fetchOffset(c *Coordinator) (int64, int16) {
	resp := c.OffsetFetch(context.Background(), someClient, fetchRequest("g", "orders"))
	return resp.Topics[0].Partitions[0].Offset, resp.ErrorCode
}

// joinAlone takes a member through a whole rebalance of group and returns its
// id and generation.
func joinAlone(t *testing.T, c *Coordinator, group string) (id string, generation int32) {
	t.Helper()
	first := c.JoinGroup(t.Context(), someClient, joinRequest(group, ""))
	if first.ErrorCode != errMemberIDRequired {
		t.Fatalf("first join: code %d, want MEMBER_ID_REQUIRED", first.ErrorCode)
	}
	joined := c.JoinGroup(t.Context(), someClient, joinRequest(group, first.MemberID))
	if joined.ErrorCode != errNone || joined.LeaderID != joined.MemberID || len(joined.Members) != 1 {
		t.Fatalf("second join: %+v", joined)
	}
	synced := c.SyncGroup(t.Context(), someClient, syncRequest(group, joined.MemberID, joined.Generation, map[string]string{joined.MemberID: "all"}))
	if synced.ErrorCode != errNone || string(synced.MemberAssignment) != "all" {
		t.Fatalf("sync: %+v", synced)
	}
	return joined.MemberID, joined.Generation
}

func TestMemberAndOffsetsSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		c := start(t, testConfig(log))
		id, generation := joinAlone(t, c, "g")
		resp := c.OffsetCommit(t.Context(), someClient, commitRequest("g", id, generation, "orders", 42))
		if code := resp.Topics[0].Partitions[0].ErrorCode; code != errNone {
			t.Fatalf("commit: code %d", code)
		}
		c.Close()

		c = start(t, testConfig(log))
		if hb := c.Heartbeat(t.Context(), someClient, heartbeatRequest("g", id, generation)); hb.ErrorCode != errNone {
			t.Errorf("heartbeat after the restart: code %d", hb.ErrorCode)
		}
		if offset, code := fetchOffset(c); offset != 42 || code != errNone {
			t.Errorf("offset after the restart = %d, code %d, want 42", offset, code)
		}
		time.Sleep(11 * time.Second) // virtual: the fresh session ends too
		synctest.Wait()
		if hb := c.Heartbeat(t.Context(), someClient, heartbeatRequest("g", id, generation)); hb.ErrorCode != errUnknownMemberID {
			t.Errorf("heartbeat after the session: code %d, want UNKNOWN_MEMBER_ID", hb.ErrorCode)
		}
	})
}

func TestNothingIsAnsweredBeforeTheAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		c := start(t, testConfig(log))
		if code := commitOffset(c, 1); code != errNone {
			t.Fatalf("commit: code %d", code)
		}
		gate := make(chan struct{})
		log.setFault(func(_ context.Context, recs []Record) (int, error) {
			<-gate
			return len(recs), nil
		})
		done := make(chan string, 3)
		go func() { commitOffset(c, 2); done <- "commit" }()
		synctest.Wait()
		go func() { fetchOffset(c); done <- "fetch" }()
		go func() { c.ListGroups(context.Background(), someClient, kmsg.NewPtrListGroupsRequest()); done <- "list" }()
		synctest.Wait()
		select {
		case what := <-done:
			t.Fatalf("%s was answered before the append it depends on", what)
		default:
		}
		close(gate)
		for range 3 {
			<-done
		}
		if offset, _ := fetchOffset(c); offset != 2 {
			t.Errorf("offset = %d, want 2", offset)
		}
	})
}

func TestAFailedAppendFallsBackToTheLog(t *testing.T) {
	for name, kept := range map[string]int{"nothing was written": 0, "it was written all the same": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newMemLog()
				c := start(t, testConfig(log))
				if code := commitOffset(c, 1); code != errNone {
					t.Fatalf("commit: code %d", code)
				}
				log.setFault(func(context.Context, []Record) (int, error) { return kept, errors.New("disk") })
				gate := make(chan struct{})
				log.onReplay = func(context.Context) error { <-gate; return nil }
				if code := commitOffset(c, 2); code != errCoordinatorLoadInProgress {
					t.Errorf("commit of which the append failed: code %d, want COORDINATOR_LOAD_IN_PROGRESS", code)
				}
				if _, code := fetchOffset(c); code != errCoordinatorLoadInProgress {
					t.Errorf("fetch while loading: code %d, want COORDINATOR_LOAD_IN_PROGRESS", code)
				}
				log.setFault(nil)
				close(gate)
				synctest.Wait()
				if offset, code := fetchOffset(c); offset != int64(1+kept) || code != errNone {
					t.Errorf("offset = %d, code %d, want what the log has: %d", offset, code, 1+kept)
				}
			})
		})
	}
}

func TestNoEmptyGroupBeforeTheReplayHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		c := start(t, testConfig(log))
		commitOffset(c, 7)
		c.Close()

		gate := make(chan struct{})
		fails := 3
		log.onReplay = func(context.Context) error {
			<-gate
			if fails--; fails >= 0 {
				return errors.New("disk")
			}
			return nil
		}
		c = start(t, testConfig(log))
		checkLoading := func() {
			t.Helper()
			synctest.Wait()
			if _, code := fetchOffset(c); code != errCoordinatorLoadInProgress {
				t.Errorf("fetch: code %d, want COORDINATOR_LOAD_IN_PROGRESS", code)
			}
			list := c.ListGroups(t.Context(), someClient, kmsg.NewPtrListGroupsRequest())
			if list.ErrorCode != errCoordinatorLoadInProgress {
				t.Errorf("list: code %d, want COORDINATOR_LOAD_IN_PROGRESS", list.ErrorCode)
			}
			if join := c.JoinGroup(t.Context(), someClient, joinRequest("g", "")); join.ErrorCode != errCoordinatorLoadInProgress {
				t.Errorf("join: code %d, want COORDINATOR_LOAD_IN_PROGRESS", join.ErrorCode)
			}
		}
		checkLoading()
		close(gate)
		checkLoading()
		time.Sleep(10 * time.Second) // virtual: three replays fail, then one does not
		if offset, code := fetchOffset(c); offset != 7 || code != errNone {
			t.Errorf("offset = %d, code %d, want 7", offset, code)
		}
	})
}

func TestAppendsAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		c := start(t, testConfig(log))
		log.setFault(func(_ context.Context, recs []Record) (int, error) {
			time.Sleep(time.Millisecond) // virtual: all commits arrive meanwhile
			return len(recs), nil
		})
		done := make(chan int16)
		for i := range 100 {
			go func() { done <- commitOffset(c, int64(i)) }()
		}
		for range 100 {
			if code := <-done; code != errNone {
				t.Errorf("commit: code %d", code)
			}
		}
		if log.appends > 3 {
			t.Errorf("100 commits at once took %d appends", log.appends)
		}
	})
}

func TestAppendsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		cfg := testConfig(log)
		cfg.MaxRecordBytes = 200
		c := start(t, cfg)
		log.setFault(func(_ context.Context, recs []Record) (int, error) {
			size := 0
			for _, r := range recs {
				size += len(r.Key) + len(r.Value)
			}
			if size > 200 {
				t.Errorf("an append of %d bytes", size)
			}
			return len(recs), nil
		})
		req := commitRequest("g", "", -1, "orders", 1)
		for i := range int32(50) {
			p := req.Topics[0].Partitions[0]
			p.Partition = i
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, p)
		}
		c.OffsetCommit(t.Context(), someClient, req)
		if n := len(log.recs[0]); n != 51 {
			t.Errorf("%d records in the log, want 51", n)
		}
	})
}

func TestAJoinThatIsGivenUpLeavesTheMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(newMemLog())
		cfg.InitialRebalanceDelay = 3 * time.Second
		c := start(t, cfg)
		first := c.JoinGroup(t.Context(), someClient, joinRequest("g", ""))
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan *kmsg.JoinGroupResponse)
		go func() { gaveUp <- c.JoinGroup(ctx, someClient, joinRequest("g", first.MemberID)) }()
		synctest.Wait()
		cancel()
		if resp := <-gaveUp; resp.ErrorCode != errCoordinatorNotAvailable {
			t.Errorf("join given up: code %d, want COORDINATOR_NOT_AVAILABLE", resp.ErrorCode)
		}
		time.Sleep(4 * time.Second) // virtual: the generation begins without a listener
		if hb := c.Heartbeat(t.Context(), someClient, heartbeatRequest("g", first.MemberID, 1)); hb.ErrorCode != errNone {
			t.Errorf("heartbeat: code %d, want none: the member is still there", hb.ErrorCode)
		}
		time.Sleep(11 * time.Second)
		if hb := c.Heartbeat(t.Context(), someClient, heartbeatRequest("g", first.MemberID, 1)); hb.ErrorCode != errUnknownMemberID {
			t.Errorf("heartbeat: code %d, want UNKNOWN_MEMBER_ID: its session is over", hb.ErrorCode)
		}
	})
}

func TestCloseAnswersThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(newMemLog())
		cfg.InitialRebalanceDelay = time.Hour
		c := start(t, cfg)
		req := joinRequest("g", "")
		req.Version = 3
		parked := make(chan *kmsg.JoinGroupResponse)
		go func() { parked <- c.JoinGroup(context.Background(), someClient, req) }()
		synctest.Wait()
		c.Close()
		if resp := <-parked; resp.ErrorCode != errCoordinatorNotAvailable {
			t.Errorf("parked join: code %d, want COORDINATOR_NOT_AVAILABLE", resp.ErrorCode)
		}
		if code := commitOffset(c, 1); code != errCoordinatorNotAvailable {
			t.Errorf("commit after Close: code %d, want COORDINATOR_NOT_AVAILABLE", code)
		}
		c.Close()
	})
}

func TestTopicDeletedOutlivesAFailedAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		c := start(t, testConfig(log))
		commitOffset(c, 7)
		log.setFault(func(context.Context, []Record) (int, error) { return 0, errors.New("disk") })
		c.TopicDeleted("orders")
		synctest.Wait()
		log.setFault(nil)
		time.Sleep(10 * time.Second) // virtual: loaded again, or trying to
		if offset, code := fetchOffset(c); offset != -1 || code != errNone {
			t.Errorf("offset of a deleted topic = %d, code %d, want none", offset, code)
		}
		c.Close()
		c = start(t, testConfig(log))
		if offset, _ := fetchOffset(c); offset != -1 {
			t.Errorf("offset of a deleted topic after a restart = %d, want none", offset)
		}
	})
}

func TestDamagedRecordsArePassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		log.recs[0] = []Record{
			{Key: []byte{0}, Value: nil},                       // no version
			{Key: []byte{0, 2, 0, 9}, Value: []byte{0, 3}},     // cut
			{Key: []byte{0, 17, 1, 2, 3}, Value: []byte{0, 0}}, // of a newer Kafka
			{Key: groupTombstone("g").Key, Value: []byte{0, 3, 0}},
			{Key: groupTombstone("g").Key, Value: []byte{0, 99, 0}},
			offsetRecord("g", topicPartition{"orders", 0}, committed{offset: 5, expireTime: -1}),
			{Key: offsetTombstone("g", topicPartition{"orders", 0}).Key, Value: []byte{}},
		}
		c := start(t, testConfig(log))
		if offset, code := fetchOffset(c); offset != 5 || code != errNone {
			t.Errorf("offset = %d, code %d, want 5", offset, code)
		}
	})
}
