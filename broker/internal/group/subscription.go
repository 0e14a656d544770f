// SPDX-License-Identifier: Apache-2.0

package group

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kbin"
)

// consumerProtocol is the protocol type of consumers, whose metadata begins
// with the topics they subscribe to.
const consumerProtocol = "consumer"

// newestConsumerProtocol is the version of ConsumerProtocolSubscription and
// ConsumerProtocolAssignment that this package knows.
const newestConsumerProtocol = 3

// subscribedTopics reads the topics from the metadata of a consumer
// (ConsumerProtocolSubscription). All versions begin alike:
//
//	version int16 | topics: count int32, each: length int16, name | ...
func subscribedTopics(metadata []byte) (topics []string, ok bool) {
	if len(metadata) < 6 {
		return nil, false
	}
	n := int32(binary.BigEndian.Uint32(metadata[2:]))
	rest := metadata[6:]
	if n < 0 || int(n) > len(rest)/2 {
		return nil, false
	}
	topics = make([]string, 0, n)
	for range n {
		if len(rest) < 2 {
			return nil, false
		}
		size := int(int16(binary.BigEndian.Uint16(rest)))
		if size < 0 || size > len(rest)-2 {
			return nil, false
		}
		topics = append(topics, string(rest[2:2+size]))
		rest = rest[2+size:]
	}
	return topics, true
}

// topicPartitions are partitions of one topic.
type topicPartitions struct {
	topic      string
	partitions []int32
}

// subscription is what a consumer says in the metadata of a classic protocol.
type subscription struct {
	version int16
	topics  []string
	owned   []topicPartitions // since v1: what it has
	rack    *string           // since v3
}

// readSubscription reads a ConsumerProtocolSubscription. A version that is not
// known yet begins as the newest known one.
func readSubscription(metadata []byte) (s subscription, ok bool) {
	r := reader{kbin.Reader{Src: metadata}}
	s.version = r.Int16()
	for n := r.ArrayLen(); n > 0 && r.Ok(); n-- {
		s.topics = append(s.topics, r.String())
	}
	r.NullableBytes() // user data: for the assignor
	if s.version >= 1 {
		s.owned = r.topicPartitions()
	}
	if s.version >= 2 {
		r.Int32() // generation
	}
	if s.version >= 3 {
		s.rack = r.NullableString()
	}
	return s, r.Ok() && s.version >= 0
}

// readAssignment reads a ConsumerProtocolAssignment; an empty one has no
// version. userData is true if there is some for the assignor.
func readAssignment(assignment []byte) (a []topicPartitions, userData, ok bool) {
	if len(assignment) == 0 {
		return nil, false, true
	}
	r := reader{kbin.Reader{Src: assignment}}
	r.Int16()
	a = r.topicPartitions()
	userData = len(r.NullableBytes()) > 0
	return a, userData, r.Ok()
}

func (r *reader) topicPartitions() []topicPartitions {
	var out []topicPartitions
	for n := r.ArrayLen(); n > 0 && r.Ok(); n-- {
		tp := topicPartitions{topic: r.String()}
		for n := r.ArrayLen(); n > 0 && r.Ok(); n-- {
			tp.partitions = append(tp.partitions, r.Int32())
		}
		out = append(out, tp)
	}
	return out
}

// subscription returns the topics that the members of g subscribe to. known is
// false if one of them does not say so in a way that is understood here.
func (g *group) subscription() (topics map[string]bool, known bool) {
	if g.modern != nil {
		return g.modern.subscription(), true
	}
	if g.protocolType != consumerProtocol || g.protocol == "" {
		return nil, false
	}
	topics = make(map[string]bool)
	for _, m := range g.members {
		of, ok := subscribedTopics(m.metadata(g.protocol))
		if !ok {
			return nil, false
		}
		for _, t := range of {
			topics[t] = true
		}
	}
	return topics, true
}

// subscribes reports whether a member of g subscribes to topic, or may do so
// in a way that is not understood here.
func (g *group) subscribes(topic string) bool {
	topics, known := g.subscription()
	switch {
	case known:
		return topics[topic]
	case g.state == stateEmpty:
		return false
	}
	return g.protocolType == consumerProtocol
}
