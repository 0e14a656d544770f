// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A rawConn speaks the protocol over one connection, request by request.
type rawConn struct {
	net.Conn
	t *testing.T
}

func dialRaw(t *testing.T, addr string) *rawConn {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return &rawConn{Conn: nc, t: t}
}

func withVersion[R kmsg.Request](req R, version int16) R {
	req.SetVersion(version)
	return req
}

func frameOf(req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, 1)
}

// send writes a request.
func (c *rawConn) send(req kmsg.Request) {
	if _, err := c.Write(frameOf(req)); err != nil {
		c.t.Errorf("send %s: %v", kmsg.NameForKey(req.Key()), err)
	}
}

// receive reads the answer to the request that was sent last, or returns an
// empty one and lets the test fail.
func (c *rawConn) receive(req kmsg.Request) kmsg.Response {
	resp := req.ResponseKind()
	if err := c.read(resp); err != nil {
		c.t.Errorf("answer to %s: %v", kmsg.NameForKey(req.Key()), err)
		return req.ResponseKind()
	}
	return resp
}

func (c *rawConn) read(resp kmsg.Response) error {
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(c, body); err != nil {
		return err
	}
	if resp.IsFlexible() && resp.Key() != kmsg.ApiVersions.Int16() {
		body = body[1:] // no tags
	}
	return resp.ReadFrom(body)
}

// do sends a request and waits for its answer.
func (c *rawConn) do(req kmsg.Request) kmsg.Response {
	c.send(req)
	return c.receive(req)
}

// awaitGroup waits until the group's coordinator has read its log.
func (c *rawConn) awaitGroup(group string) {
	req := withVersion(kmsg.NewPtrDescribeGroupsRequest(), 4)
	req.Groups = []string{group}
	for !c.t.Failed() {
		resp := c.do(req).(*kmsg.DescribeGroupsResponse)
		if len(resp.Groups) == 1 && resp.Groups[0].ErrorCode != kerr.CoordinatorLoadInProgress.Code {
			return
		}
	}
}

// joinClassic makes a group of one member by the classic protocol, which commits
// offsets of ten partitions.
func (c *rawConn) joinClassic(group string) {
	c.awaitGroup(group)
	join := kmsg.NewPtrJoinGroupRequest()
	join.Version, join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 9, group, "consumer", 1_800_000, 60_000
	proto := kmsg.NewJoinGroupRequestProtocol()
	proto.Name, proto.Metadata = "range", make([]byte, 100)
	join.Protocols = append(join.Protocols, proto)
	join.MemberID = c.do(join).(*kmsg.JoinGroupResponse).MemberID
	joined := c.do(join).(*kmsg.JoinGroupResponse)
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version, sync.Group, sync.MemberID, sync.Generation = 5, group, join.MemberID, joined.Generation
	sync.ProtocolType, sync.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	assign := kmsg.NewSyncGroupRequestGroupAssignment()
	assign.MemberID, assign.MemberAssignment = join.MemberID, make([]byte, 100)
	sync.GroupAssignment = append(sync.GroupAssignment, assign)
	synced := c.do(sync).(*kmsg.SyncGroupResponse)
	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Version, commit.Group, commit.MemberID, commit.Generation = 8, group, join.MemberID, joined.Generation
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = "small"
	for p := range int32(10) {
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		part.Partition = p
		topic.Partitions = append(topic.Partitions, part)
	}
	commit.Topics = append(commit.Topics, topic)
	committed := c.do(commit).(*kmsg.OffsetCommitResponse)
	if joined.ErrorCode != 0 || synced.ErrorCode != 0 || len(committed.Topics) != 1 || committed.Topics[0].Partitions[0].ErrorCode != 0 {
		c.t.Errorf("group %s: join %d, sync %d, commit %+v", group, joined.ErrorCode, synced.ErrorCode, committed.Topics)
	}
}

// joinModern makes a group of one member by the protocol of KIP-848.
func (c *rawConn) joinModern(group string) {
	c.awaitGroup(group)
	beat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	beat.Version, beat.Group, beat.MemberID, beat.RebalanceTimeoutMillis = 1, group, fmt.Sprintf("member-of-%s", group), 60_000
	beat.SubscribedTopicNames, beat.Topics = []string{"small"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	if resp := c.do(beat).(*kmsg.ConsumerGroupHeartbeatResponse); resp.ErrorCode != 0 {
		c.t.Errorf("group %s: %d", group, resp.ErrorCode)
	}
}
