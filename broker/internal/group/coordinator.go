// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A Coordinator is the group coordinator of all partitions of
// __consumer_offsets. Its methods may be called from many goroutines. Each
// request method blocks until its answer may be sent and returns nil never:
// if ctx ends first, the answer carries COORDINATOR_NOT_AVAILABLE and nobody
// is there to read it. They read the request, keep parts of it, and never
// change it.
type Coordinator struct {
	cfg Config

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// New returns a Coordinator that does nothing before Start.
func New(cfg Config) *Coordinator {
	return &Coordinator{cfg: cfg.withDefaults()}
}

// Start begins to load all partitions and returns at once. Until a partition
// is loaded its requests are answered COORDINATOR_LOAD_IN_PROGRESS. The
// coordinator stops when ctx ends or at Close. Start is called once.
func (c *Coordinator) Start(ctx context.Context) {
	_, c.cancel = context.WithCancel(ctx)
}

// Close stops the coordinator and waits for all its goroutines. Requests under
// way are answered COORDINATOR_NOT_AVAILABLE. Calling it twice is safe.
func (c *Coordinator) Close() {
	if c.cancel != nil {
		c.cancel()
	}
	c.wg.Wait()
}

// JoinGroup answers when the rebalance that the join is part of completes.
func (c *Coordinator) JoinGroup(ctx context.Context, client Client, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
	resp.ErrorCode = 15
	return resp
}

// SyncGroup answers when the leader's assignment is in the log.
func (c *Coordinator) SyncGroup(ctx context.Context, client Client, req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	resp := req.ResponseKind().(*kmsg.SyncGroupResponse)
	resp.ErrorCode = 15
	return resp
}

// Heartbeat keeps a member's session alive.
func (c *Coordinator) Heartbeat(ctx context.Context, client Client, req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
	resp.ErrorCode = 15
	return resp
}

// LeaveGroup removes members.
func (c *Coordinator) LeaveGroup(ctx context.Context, client Client, req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	resp := req.ResponseKind().(*kmsg.LeaveGroupResponse)
	resp.ErrorCode = 15
	return resp
}

// OffsetCommit answers when the offsets are in the log.
func (c *Coordinator) OffsetCommit(ctx context.Context, client Client, req *kmsg.OffsetCommitRequest) *kmsg.OffsetCommitResponse {
	return req.ResponseKind().(*kmsg.OffsetCommitResponse)
}

// OffsetFetch returns committed offsets, of several groups since v8.
func (c *Coordinator) OffsetFetch(ctx context.Context, client Client, req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
	return req.ResponseKind().(*kmsg.OffsetFetchResponse)
}

// DescribeGroups describes the groups named.
func (c *Coordinator) DescribeGroups(ctx context.Context, client Client, req *kmsg.DescribeGroupsRequest) *kmsg.DescribeGroupsResponse {
	return req.ResponseKind().(*kmsg.DescribeGroupsResponse)
}

// ListGroups lists the groups of all partitions.
func (c *Coordinator) ListGroups(ctx context.Context, client Client, req *kmsg.ListGroupsRequest) *kmsg.ListGroupsResponse {
	return req.ResponseKind().(*kmsg.ListGroupsResponse)
}

// DeleteGroups deletes empty groups with their offsets.
func (c *Coordinator) DeleteGroups(ctx context.Context, client Client, req *kmsg.DeleteGroupsRequest) *kmsg.DeleteGroupsResponse {
	return req.ResponseKind().(*kmsg.DeleteGroupsResponse)
}

// TopicDeleted drops the committed offsets of topic in all groups. It returns
// once every partition has taken note of it, not when the tombstones are in
// the log.
func (c *Coordinator) TopicDeleted(topic string) {}
