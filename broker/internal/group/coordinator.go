// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A Coordinator is the group coordinator of all partitions of
// __consumer_offsets. Its methods may be called from many goroutines. A
// request method blocks until its answer may be sent, and never returns nil.
// If ctx ends first, or the coordinator does not run, the answer is
// COORDINATOR_NOT_AVAILABLE; what the request did stands, so that a member
// whose JoinGroup is given up stays until its session ends.
//
// A request is only read. Its byte slices are copied where they are kept, its
// strings are kept as they are.
type Coordinator struct {
	cfg   Config
	parts []*partition

	started atomic.Bool
	cancel  context.CancelFunc
	wg      sync.WaitGroup
}

// New returns a Coordinator that does nothing before Start.
func New(cfg Config) *Coordinator {
	c := &Coordinator{cfg: cfg.withDefaults(), cancel: func() {}}
	for id := range c.cfg.Partitions {
		c.parts = append(c.parts, newPartition(id, c.cfg))
	}
	return c
}

// Start begins to load all partitions and returns at once. Until a partition
// is loaded its requests are answered COORDINATOR_LOAD_IN_PROGRESS. The
// coordinator stops when ctx ends or at Close. Start is called once, and not
// at the same time as Close.
func (c *Coordinator) Start(ctx context.Context) {
	ctx, c.cancel = context.WithCancel(ctx)
	for _, p := range c.parts {
		c.wg.Go(func() { p.run(ctx) })
	}
	c.started.Store(true)
}

// Close stops the coordinator and waits for all its goroutines. Requests under
// way are answered COORDINATOR_NOT_AVAILABLE. Calling it twice is safe.
func (c *Coordinator) Close() {
	c.cancel()
	c.wg.Wait()
}

// partitionOf returns the partition that holds group.
func (c *Coordinator) partitionOf(group string) *partition {
	return c.parts[PartitionFor(group, int32(len(c.parts)))]
}

// ask has p step the event that make returns for a token. The answer is the
// body of its reply, or, if there is none, an error code.
func (c *Coordinator) ask(ctx context.Context, p *partition, event func(token) event) *call {
	q := &call{event: event, answer: make(chan answer, 1)} // the loop never waits for a caller
	if !c.started.Load() {
		q.answer <- answer{code: errCoordinatorNotAvailable}
		return q
	}
	select {
	case p.inbox <- q:
	case <-ctx.Done():
		q.answer <- answer{code: errCoordinatorNotAvailable}
	case <-p.done:
		q.answer <- answer{code: errCoordinatorNotAvailable}
	}
	return q
}

// wait waits for the answer to q, which ask put to p.
func (q *call) wait(ctx context.Context, p *partition) answer {
	select {
	case a := <-q.answer:
		return a
	default:
	}
	select {
	case a := <-q.answer:
		return a
	case <-ctx.Done():
	case <-p.done:
		// The loop may have answered just before it ended.
		select {
		case a := <-q.answer:
			return a
		default:
		}
	}
	return answer{code: errCoordinatorNotAvailable}
}

// one asks p for a reply of type R, or calls failed with an error code.
func one[R any](ctx context.Context, c *Coordinator, p *partition, event func(token) event, failed func(code int16) R) R {
	a := c.ask(ctx, p, event).wait(ctx, p)
	if a.code != errNone {
		return failed(a.code)
	}
	return a.body.(R)
}

// JoinGroup answers when the join phase that it is part of ends.
func (c *Coordinator) JoinGroup(ctx context.Context, client Client, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	return one(ctx, c, c.partitionOf(req.Group), func(t token) event {
		return joinEvent{token: t, client: client, req: req, fresh: newUUID()}
	}, func(code int16) *kmsg.JoinGroupResponse {
		return joinFailure(req.Version, req.MemberID, code)
	})
}

// SyncGroup answers when the assignment of the leader is in the log.
func (c *Coordinator) SyncGroup(ctx context.Context, _ Client, req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	return one(ctx, c, c.partitionOf(req.Group), func(t token) event {
		return syncEvent{token: t, req: req}
	}, func(code int16) *kmsg.SyncGroupResponse {
		return syncFailure(req.Version, code)
	})
}

// Heartbeat keeps the session of a member alive and tells it of rebalances.
func (c *Coordinator) Heartbeat(ctx context.Context, _ Client, req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	return one(ctx, c, c.partitionOf(req.Group), func(t token) event {
		return heartbeatEvent{token: t, req: req}
	}, func(code int16) *kmsg.HeartbeatResponse {
		resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
		resp.ErrorCode = code
		return resp
	})
}

// LeaveGroup removes members.
func (c *Coordinator) LeaveGroup(ctx context.Context, _ Client, req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	return one(ctx, c, c.partitionOf(req.Group), func(t token) event {
		return leaveEvent{token: t, req: req}
	}, func(code int16) *kmsg.LeaveGroupResponse {
		resp := req.ResponseKind().(*kmsg.LeaveGroupResponse)
		resp.ErrorCode = code
		return resp
	})
}

// TopicDeleted drops the committed offsets of topic in all groups. It returns
// when every partition has taken note of it, or ends; the tombstones reach the
// log soon after, also if an append fails in between.
func (c *Coordinator) TopicDeleted(topic string) {
	ctx := context.Background()
	calls := make([]*call, len(c.parts))
	for i, p := range c.parts {
		calls[i] = c.ask(ctx, p, func(token) event { return topicDeletedEvent{topic} })
	}
	for i, p := range c.parts {
		calls[i].wait(ctx, p)
	}
}
