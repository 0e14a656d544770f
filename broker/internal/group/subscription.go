// SPDX-License-Identifier: Apache-2.0

package group

import "encoding/binary"

// consumerProtocol is the protocol type of consumers, whose metadata begins
// with the topics they subscribe to.
const consumerProtocol = "consumer"

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

// subscription returns the topics that the members of g subscribe to. known is
// false if one of them does not say so in a way that is understood here.
func (g *group) subscription() (topics map[string]bool, known bool) {
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
