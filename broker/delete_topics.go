// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteTopics (20), versions 1-6, by name or from 6 on by id. A topic is gone
// for good when the answer comes, and so are the offsets committed for it.

func (b *Broker) deleteTopics(ctx context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.DeleteTopicsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	asked := req.Topics
	for i := range req.TopicNames {
		q := kmsg.NewDeleteTopicsRequestTopic()
		q.Topic = &req.TopicNames[i]
		asked = append(asked, q)
	}
	for _, q := range asked {
		at := kmsg.NewDeleteTopicsResponseTopic()
		at.Topic, at.TopicID = q.Topic, q.TopicID
		t, code := b.toDelete(&q)
		if t != nil {
			at.Topic, at.TopicID = &t.name, t.id
		}
		at.ErrorCode = code
		if code == 0 {
			b.deleteTopic(ctx, t, &at)
		}
		resp.Topics = append(resp.Topics, at)
	}
	return resp
}

func (b *Broker) toDelete(q *kmsg.DeleteTopicsRequestTopic) (*topic, int16) {
	switch {
	case q.Topic != nil && q.TopicID != [16]byte{}, q.Topic == nil && q.TopicID == [16]byte{}:
		return nil, kerr.InvalidRequest.Code
	case q.Topic == nil:
		return b.lookup(true, "", q.TopicID)
	default:
		return b.lookup(false, *q.Topic, topicID{})
	}
}

func (b *Broker) deleteTopic(ctx context.Context, t *topic, at *kmsg.DeleteTopicsResponseTopic) {
	var err error
	if t.internal {
		err = fmt.Errorf("%w: %q is internal", errInvalidTopic, t.name)
	} else {
		err = b.topics.remove(ctx, t.id)
	}
	at.ErrorCode, at.ErrorMessage = codeOf(err), message(err)
	if isStorage(at.ErrorCode) {
		b.log.Error("delete topic", "topic", t.name, "err", err)
	}
	if err == nil {
		b.groups.TopicDeleted(t.name)
	}
}
