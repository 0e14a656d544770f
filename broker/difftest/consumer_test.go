// SPDX-License-Identifier: Apache-2.0

package difftest

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Groups of KIP-848.
func consumerCases() []testCase {
	return []testCase{
		{name: "consumer group", key: kmsg.ConsumerGroupHeartbeat, run: consumerGroup},
		{name: "two consumers", key: kmsg.ConsumerGroupHeartbeat, run: twoConsumers},
		{name: "static consumer", key: kmsg.ConsumerGroupHeartbeat, run: staticConsumer},
		{name: "consumer wrongly", key: kmsg.ConsumerGroupHeartbeat, run: consumesWrongly},
		{name: "consumer by pattern", key: kmsg.ConsumerGroupHeartbeat, run: consumerByPattern},
		{name: "describe consumer groups", key: kmsg.ConsumerGroupDescribe, run: describeConsumerGroups},
		{name: "both protocols", key: kmsg.ConsumerGroupHeartbeat, run: bothProtocols},
	}
}

// A consumer is a member of such a group.
type consumer struct {
	s         *script
	group, id string
	epoch     int32
	instance  *string
	topics    []string
	owned     []kmsg.ConsumerGroupHeartbeatRequestTopic
}

func (s *script) newConsumer(group, id string, topics ...string) *consumer {
	return &consumer{s: s, group: group, id: id, topics: topics}
}

// request says all, as the first of a member does.
func (c *consumer) request() *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch, req.InstanceID = c.group, c.id, c.epoch, c.instance
	req.RebalanceTimeoutMillis, req.SubscribedTopicNames = 120_000, c.topics
	req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	if c.epoch > 0 {
		req.Topics = c.owned
	}
	return req
}

// beat says what the member has, and does as it is told.
func (c *consumer) beat(label string) *kmsg.ConsumerGroupHeartbeatResponse {
	resp := do[*kmsg.ConsumerGroupHeartbeatResponse](c.s, label, c.request())
	if resp.ErrorCode != 0 {
		return resp
	}
	c.epoch = resp.MemberEpoch
	if resp.MemberID != nil {
		if c.id == "" {
			c.s.symbols["member"+*resp.MemberID] = "<member of the node>"
		}
		c.id = *resp.MemberID
	}
	if resp.Assignment != nil {
		c.owned = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for _, t := range resp.Assignment.Topics {
			c.owned = append(c.owned, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.TopicID, Partitions: t.Partitions})
		}
	}
	return resp
}

func (c *consumer) partitions() (n int) {
	for _, t := range c.owned {
		n += len(t.Partitions)
	}
	return n
}

func (s *script) consumersDescribed(label string, groups ...string) {
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = groups
	s.do(label, req)
}

func (s *script) heartbeat(label string, c *consumer, change func(r *kmsg.ConsumerGroupHeartbeatRequest)) {
	req := c.request()
	change(req)
	s.do(label, req)
}

func consumerGroup(s *script) {
	c := s.newConsumer(s.unique("g"), "", "base")
	if s.version > 0 {
		c.id = "consumer-0000000000000a"
	}
	c.beat("joined")
	c.beat("told what it has")
	s.consumersDescribed("stable", c.group)
	s.described("as a classic group", c.group)
	s.heartbeat("keepalive", c, func(r *kmsg.ConsumerGroupHeartbeatRequest) {
		r.Topics, r.SubscribedTopicNames, r.RebalanceTimeoutMillis = nil, nil, -1
	})
	commit := func(label string, epoch int32) {
		req := commitRequest(s, c.group, "base", 0, 3)
		req.MemberID, req.Generation = c.id, epoch
		s.do(label, req)
	}
	commit("committed", c.epoch)
	commit("committed with an old epoch", c.epoch-1)
	commit("committed with an epoch to come", c.epoch+1)
	commit("committed from outside", -1)
	s.heartbeat("old epoch", c, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = 100 })
	s.heartbeat("another topic", c, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = []string{"base", "trimmed"} })
	c.topics = []string{"base", "trimmed"}
	for i := range 3 {
		c.beat(fmt.Sprint("after another topic ", i))
	}
	s.consumersDescribed("with two topics", c.group)
	c.topics = []string{"nowhere"}
	for i := range 3 {
		c.beat(fmt.Sprint("after an unknown topic ", i))
	}
	s.heartbeat("joined again", c, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = 0 })
	s.heartbeat("left", c, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -1 })
	s.heartbeat("left again", c, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -1 })
	s.heartbeat("after it left", c, func(*kmsg.ConsumerGroupHeartbeatRequest) {})
	s.consumersDescribed("empty", c.group)
	gone := kmsg.NewPtrDeleteGroupsRequest()
	gone.Groups = []string{c.group}
	s.do("deleted", gone)
	s.consumersDescribed("gone", c.group)
}

func twoConsumers(s *script) {
	if s.version == 0 {
		return // ids of the node's own make another order each time
	}
	a := s.newConsumer(s.unique("g"), "consumer-a", "base", "trimmed")
	b := s.newConsumer(a.group, "consumer-b", "base")
	a.beat("a joined")
	a.beat("a has all")
	b.beat("b joined")
	s.consumersDescribed("a has to give", a.group)
	for i := range 4 {
		a.beat(fmt.Sprint("a ", i))
		b.beat(fmt.Sprint("b ", i))
	}
	s.consumersDescribed("shared", a.group)
	s.heartbeat("b left", b, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -1 })
	for i := range 3 {
		a.beat(fmt.Sprint("a alone ", i))
	}
	s.consumersDescribed("alone", a.group)
	if n := a.partitions(); n != 4 {
		s.fail("a has %d partitions of 4", n)
	}
}

func staticConsumer(s *script) {
	old := s.newConsumer(s.unique("g"), "consumer-old", "base")
	old.instance = kmsg.StringPtr("static")
	old.beat("joined")
	old.beat("has all")
	again := s.newConsumer(old.group, "consumer-new", "base")
	again.instance = old.instance
	s.heartbeat("replaced before it left", again, func(*kmsg.ConsumerGroupHeartbeatRequest) {})
	s.heartbeat("left for a while", old, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -2 })
	s.consumersDescribed("away", old.group)
	again.beat("replaced")
	again.beat("has all again")
	old.beat("the old one")
	s.consumersDescribed("replaced", old.group)
	s.heartbeat("left for good", again, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -1 })
	s.consumersDescribed("empty", old.group)
}

func consumesWrongly(s *script) {
	c := s.newConsumer(s.unique("g"), "consumer-x", "base")
	all := map[string]func(r *kmsg.ConsumerGroupHeartbeatRequest){
		"no group":             func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = "" },
		"no member":            func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID, r.MemberEpoch = "", 1 },
		"no topics":            func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = nil },
		"empty topics":         func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = []string{} },
		"invalid topic":        func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = []string{"a b"} },
		"no rebalance timeout": func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMillis = -1 },
		"rebalance timeout 0":  func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMillis = 0 },
		"partitions at once": func(r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: s.id("base"), Partitions: []int32{0}}}
		},
		"null partitions":            func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Topics = nil },
		"unknown assignor":           func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = kmsg.StringPtr("nonsense") },
		"assignor of no name":        func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = kmsg.StringPtr("") },
		"instance of no name":        func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.InstanceID = kmsg.StringPtr("") },
		"rack of no name":            func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RackID = kmsg.StringPtr("") },
		"unknown group at epoch 5":   func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = 5 },
		"epoch -3":                   func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -3 },
		"left without an instance":   func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -2 },
		"left what is not there":     func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -1 },
		"group of a simple consumer": func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = "simple"; r.MemberEpoch = 1 },
	}
	each(all, func(label string, change func(r *kmsg.ConsumerGroupHeartbeatRequest)) { s.heartbeat(label, c, change) })
	right := s.newConsumer(s.unique("h"), "consumer-y", "base")
	right.beat("right")
	c.group = right.group
	for _, label := range slices.Sorted(slices.Values([]string{"epoch -3", "unknown group at epoch 5", "left what is not there", "unknown assignor"})) {
		s.heartbeat(label+", in a group", c, all[label])
	}
	strange := right.request()
	strange.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: [16]byte{9}, Partitions: []int32{0, -4}}}
	s.do("partitions that it does not have", strange)
}

func consumerByPattern(s *script) {
	if s.version == 0 {
		return // has none
	}
	prefix := s.unique("")
	for _, t := range []string{"one", "two"} {
		s.createTopic(prefix+t, 1)
	}
	c := s.newConsumer(s.unique("g"), "consumer-p")
	ask := func(label, pattern string) {
		req := c.request()
		req.SubscribedTopicNames, req.SubscribedTopicRegex = nil, &pattern
		resp := do[*kmsg.ConsumerGroupHeartbeatResponse](s, label, req)
		if resp.ErrorCode == 0 {
			c.epoch = resp.MemberEpoch
		}
	}
	ask("not a pattern", "([")
	ask("look ahead", "(?=x)")
	ask("of no length", "")
	// How soon a pattern is resolved is the node's own: the end is compared.
	s.until("both topics", func() bool {
		req := c.request()
		req.SubscribedTopicNames, req.SubscribedTopicRegex = []string{}, kmsg.StringPtr(prefix+".*")
		req.Topics = c.owned
		resp := ask2(s, req)
		c.epoch = resp.MemberEpoch
		if resp.Assignment != nil {
			c.owned = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			for _, t := range resp.Assignment.Topics {
				c.owned = append(c.owned, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.TopicID, Partitions: t.Partitions})
			}
		}
		return c.partitions() == 2
	})
}

func ask2(s *script, req *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	if resp := ask[*kmsg.ConsumerGroupHeartbeatResponse](s, req); resp.ErrorCode == 0 {
		return resp
	}
	s.fail("a heartbeat was refused")
	return nil
}

func describeConsumerGroups(s *script) {
	c := s.newConsumer(s.unique("g"), "consumer-d", "base")
	c.beat("")
	c.beat("")
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = []string{c.group, "simple", "nowhere", ""}
	s.do("right and wrong", req)
	req.IncludeAuthorizedOperations = true
	s.do("with operations", req)
	req.Groups = []string{c.group, c.group}
	s.do("twice", req)
	req.Groups = nil
	s.do("nothing", req)
}

// bothProtocols has members of one protocol meet groups of the other.
func bothProtocols(s *script) {
	c := s.newConsumer(s.unique("consumers"), "consumer-c", "base")
	c.beat("consumer joined")
	c.beat("consumer has all")
	m := s.newMember("classic", c.group)
	m.protocols = []string{"nonsense"}
	m.join("") // it is taken
	beat := m.heartbeatRequest()
	beat.MemberID, beat.Generation = c.id, c.epoch
	s.do("classic heartbeat of a consumer", beat)
	leave := m.leaveRequest()
	leave.Members[0].MemberID = c.id
	s.do("classic leave of a consumer", leave)
	classic := s.stable(s.unique("classics"))
	classic.id = "" // its group has a member
	odd := s.newConsumer(s.unique("classics"), "consumer-o", "base")
	s.heartbeat("consumer at epoch 1 to classics", odd, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = 1 })
	s.heartbeat("consumer leaves classics", odd, func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -1 })
	odd.beat("consumer joins classics")
	s.consumersDescribed("converted", odd.group)
	simple := s.unique("simple")
	ask[*kmsg.OffsetCommitResponse](s, commitRequest(s, simple, "base", 0, 1))
	sc := s.newConsumer(simple, "consumer-s", "base")
	sc.beat("consumer joins a simple group")
	s.offsetsOf("which keeps its offsets", simple)
	s.start("classic", "commit from outside to consumers", commitRequest(s, simple, "base", 0, 9)).wait()
}
