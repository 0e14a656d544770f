// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leadersAge is how long is believed what is known of leaders while nothing speaks
// against it: as long as added partitions may go unnoticed.
const leadersAge = time.Minute

// A led is what the cluster has said of a topic's partitions. It does not change.
type led struct {
	id    [16]byte // zero if the brokers have no topic ids
	parts []leader // by number
	asked time.Time
}

// leader is the broker that leads a partition, and since which epoch.
type leader struct {
	node  int32 // -1: none now
	epoch int32 // -1 if unknown
}

// of gives a partition's leader.
func (d *led) of(num int32) leader {
	if d == nil || num < 0 || int(num) >= len(d.parts) {
		return leader{-1, -1}
	}
	return d.parts[num]
}

// old says that it is time to ask again.
func (d *led) old(now time.Time) bool { return now.Sub(d.asked) >= leadersAge }

// leaders knows which brokers lead the partitions of the topics that were asked
// for. Its methods may be called concurrently.
type leaders struct {
	client *kgo.Client
	asking chan struct{} // holds one while the cluster is asked

	mu    sync.Mutex
	known map[string]*led
}

func newLeaders(client *kgo.Client) *leaders {
	return &leaders{client: client, asking: make(chan struct{}, 1), known: map[string]*led{}}
}

// of gives what is known of a topic, nil if nothing is.
func (s *leaders) of(topic string) *led {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[topic]
}

// ask gives what the cluster says of a topic, when the caller has no use for what it
// knows (nil: nothing). Those who ask at the same time share an answer, and all known
// topics are asked for in one. With create set a topic that does not exist may be made
// by the broker. A broker that is away is waited for; the error is the context's, or the
// broker's of the topic.
func (s *leaders) ask(ctx context.Context, topic string, have *led, create bool) (*led, error) {
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if d := s.of(topic); d != nil && d != have {
		return d, nil
	}
	req := kmsg.NewPtrMetadataRequest()
	add := func(name string) {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	add(topic)
	if have == nil {
		req.AllowAutoTopicCreation = create
	} else {
		s.mu.Lock()
		for name := range s.known {
			if name != topic {
				add(name)
			}
		}
		s.mu.Unlock()
	}
	resp, err := req.RequestWith(ctx, asker{s.client})
	if err != nil {
		return nil, fmt.Errorf("ask for the leaders of %s: %w", topic, err)
	}
	return s.take(topic, resp)
}

// take keeps an answer, and gives what it says of a topic.
func (s *leaders) take(topic string, resp *kmsg.MetadataResponse) (*led, error) {
	now := time.Now()
	var found *led
	err := errors.New("the answer lacks it")
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.Topic == nil {
			continue
		}
		terr := kerr.ErrorForCode(t.ErrorCode)
		if errors.Is(terr, kerr.UnknownTopicOrPartition) {
			delete(s.known, *t.Topic)
		}
		if terr == nil {
			d := &led{id: t.TopicID, asked: now}
			for _, p := range t.Partitions {
				for int(p.Partition) >= len(d.parts) && len(d.parts) < len(t.Partitions) {
					d.parts = append(d.parts, leader{-1, -1})
				}
				if p.Partition >= 0 && int(p.Partition) < len(d.parts) {
					d.parts[p.Partition] = leader{p.Leader, p.LeaderEpoch}
				}
			}
			s.known[*t.Topic] = d
			if *t.Topic == topic {
				found = d
			}
		}
		if *t.Topic == topic {
			err = terr
		}
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the leaders of %s: %w", topic, err)
	}
	return found, nil
}
