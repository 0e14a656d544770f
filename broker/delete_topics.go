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
	times := make(map[topicToDelete]int)
	for i := range asked {
		times[b.keyToDelete(&asked[i])]++
	}
	for _, q := range asked {
		key := b.keyToDelete(&q)
		n := times[key]
		if n == 0 {
			continue // answered
		}
		times[key] = 0
		at := kmsg.NewDeleteTopicsResponseTopic()
		at.Topic, at.TopicID = q.Topic, q.TopicID
		if req.TimeoutMillis < 0 {
			at.ErrorCode, at.ErrorMessage = codeOf(errTimedOut), message(errTimedOut)
			resp.Topics = append(resp.Topics, at)
			continue
		}
		t, code := b.toDelete(&q)
		if n > 1 {
			t, code = nil, kerr.InvalidRequest.Code
			for i := range asked {
				if asked[i].Topic != nil && b.keyToDelete(&asked[i]) == key {
					at.Topic = asked[i].Topic
				}
			}
		}
		if t != nil {
			at.Topic, at.TopicID = &t.name, t.id
		}
		if at.ErrorCode = code; code == 0 {
			b.deleteTopic(ctx, t, &at)
		} else {
			at.ErrorMessage = &kerr.TypedErrorForCode(code).Description
		}
		resp.Topics = append(resp.Topics, at)
	}
	return resp
}

// A topicToDelete is a topic, or what a request says of one that is not there: one
// that is named twice, be it by name and by id, is refused, as in Kafka.
type topicToDelete struct {
	name string
	id   topicID
}

func (b *Broker) keyToDelete(q *kmsg.DeleteTopicsRequestTopic) topicToDelete {
	if t, code := b.toDelete(q); code == 0 {
		return topicToDelete{id: t.id}
	}
	k := topicToDelete{id: q.TopicID}
	if q.Topic != nil {
		k.name = *q.Topic
	}
	return k
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
