// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreatePartitions (37), versions 0-3.

func (b *Broker) createPartitions(ctx context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.CreatePartitionsRequest)
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	times := make(map[string]int)
	for i := range req.Topics {
		times[req.Topics[i].Topic]++
	}
	for _, rt := range req.Topics {
		n := times[rt.Topic]
		if n == 0 {
			continue // answered
		}
		times[rt.Topic] = 0
		at := kmsg.NewCreatePartitionsResponseTopic()
		at.Topic = rt.Topic
		err := errNamedTwice
		if req.TimeoutMillis < 0 {
			err = errTimedOut
		} else if n == 1 {
			err = b.addPartitions(ctx, &rt, req.ValidateOnly)
		}
		at.ErrorCode, at.ErrorMessage = codeOf(err), message(err)
		if isStorage(at.ErrorCode) {
			b.log.Error("create partitions", "topic", rt.Topic, "err", err)
		}
		resp.Topics = append(resp.Topics, at)
	}
	return resp
}

func (b *Broker) addPartitions(ctx context.Context, rt *kmsg.CreatePartitionsRequestTopic, validateOnly bool) error {
	t := b.topics.named(rt.Topic)
	if t == nil {
		return fmt.Errorf("%w: %.300q", errUnknownTopic, rt.Topic)
	}
	if err := b.topics.checkGrowth(t, rt.Count); err != nil {
		return err
	}
	if t.internal {
		return fmt.Errorf("%w: %q is internal", errInvalidTopic, t.name)
	}
	if n := int(rt.Count) - len(t.partitions()); rt.Assignment != nil && len(rt.Assignment) != n {
		return fmt.Errorf("%w: %d assignments for %d new partitions", errAssignment, len(rt.Assignment), n)
	}
	for _, a := range rt.Assignment {
		if len(a.Replicas) != 1 || a.Replicas[0] != b.cfg.NodeID {
			return fmt.Errorf("%w: %v", errAssignment, a.Replicas)
		}
	}
	if validateOnly {
		return nil
	}
	return b.topics.addPartitions(ctx, rt.Topic, rt.Count)
}
