// SPDX-License-Identifier: Apache-2.0

package difftest

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func groupCases() []testCase {
	return []testCase{
		{name: "one member", key: kmsg.JoinGroup, run: oneMember},
		{name: "two members", key: kmsg.JoinGroup, run: twoMembers},
		{name: "join wrongly", key: kmsg.JoinGroup, run: joinsWrongly},
		{name: "static member", key: kmsg.JoinGroup, run: staticMember},
		{name: "static member changes", key: kmsg.JoinGroup, run: staticMemberChanges},
		{name: "choice of a protocol", key: kmsg.JoinGroup, run: choosesProtocol},
		{name: "sync wrongly", key: kmsg.SyncGroup, run: syncsWrongly},
		{name: "heartbeat", key: kmsg.Heartbeat, run: heartbeats},
		{name: "leave", key: kmsg.LeaveGroup, run: leaves},
		{name: "describe groups", key: kmsg.DescribeGroups, run: describeGroups},
		{name: "list groups", key: kmsg.ListGroups, alone: true, run: listGroups},
		{name: "delete groups", key: kmsg.DeleteGroups, run: deleteGroups},
	}
}

func joinRequest(group, member string, protocols ...string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = group, member, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 120_000, 120_000
	for _, p := range protocols {
		req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: p, Metadata: subscription("base")})
	}
	return req
}

// subscription is what a consumer sends as the metadata of a protocol.
func subscription(topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Topics = topics
	return m.AppendTo(nil)
}

// assignment is what a leader assigns.
func assignment() []byte {
	a := kmsg.NewConsumerMemberAssignment()
	a.Topics = append(a.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: "base", Partitions: []int32{0, 1, 2}})
	return a.AppendTo(nil)
}

// A member is one client of a group, and what it was told last.
type member struct {
	s          *script
	client     string // of its connection
	group, id  string
	instance   *string
	generation int32
	protocols  []string
	topics     []string // nil: base
}

func (m *member) request() *kmsg.JoinGroupRequest {
	req := joinRequest(m.group, m.id, m.protocols...)
	req.InstanceID = m.instance
	for i := range req.Protocols {
		if m.topics != nil {
			req.Protocols[i].Metadata = subscription(m.topics...)
		}
	}
	return req
}

// startJoin joins, with the id that the node makes where it wants one.
func (m *member) startJoin(label string) *pending {
	if m.id == "" && m.instance == nil && (m.s.once || m.s.key != kmsg.JoinGroup || m.s.version >= 4) {
		resp := m.s.start(m.client, label+": id", m.request()).wait().(*kmsg.JoinGroupResponse)
		m.id = resp.MemberID
	}
	return m.s.start(m.client, label, m.request())
}

func (m *member) joined(p *pending) *kmsg.JoinGroupResponse {
	resp, ok := p.wait().(*kmsg.JoinGroupResponse)
	if !ok {
		m.s.fail("no answer to a join")
	}
	m.id, m.generation = resp.MemberID, resp.Generation
	return resp
}

func (m *member) join(label string) *kmsg.JoinGroupResponse { return m.joined(m.startJoin(label)) }

func (m *member) syncRequest(assigned ...*member) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation, req.InstanceID = m.group, m.id, m.generation, m.instance
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), &m.protocols[0]
	for _, a := range assigned {
		req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: a.id, MemberAssignment: assignment()})
	}
	return req
}

func (m *member) sync(label string, assigned ...*member) {
	m.s.start(m.client, label, m.syncRequest(assigned...)).wait()
}

func (m *member) heartbeatRequest() *kmsg.HeartbeatRequest {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation, req.InstanceID = m.group, m.id, m.generation, m.instance
	return req
}

// beat records a heartbeat's answer.
func (m *member) beat(label string) {
	m.s.start(m.client, label, m.heartbeatRequest()).wait()
}

// rebalances waits until heartbeats say so: the join of another may take its time.
func (m *member) rebalances() {
	m.s.until("a rebalance", func() bool {
		return m.s.start(m.client, "", m.heartbeatRequest()).wait().(*kmsg.HeartbeatResponse).ErrorCode == 27
	})
}

func (m *member) leaveRequest() *kmsg.LeaveGroupRequest {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = m.group, m.id
	req.Members = append(req.Members, kmsg.LeaveGroupRequestMember{MemberID: m.id, InstanceID: m.instance})
	return req
}

func (m *member) commitRequest(offset int64) *kmsg.OffsetCommitRequest {
	req := commitRequest(m.s, m.group, "base", 0, offset)
	req.MemberID, req.Generation, req.InstanceID = m.id, m.generation, m.instance
	return req
}

func (s *script) described(label string, groups ...string) {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = groups
	s.do(label, req)
}

func (s *script) newMember(client, group string) *member {
	return &member{s: s, client: client, group: group, protocols: []string{"range"}}
}

func oneMember(s *script) {
	m := s.newMember("one", s.unique("g"))
	m.protocols = []string{"range", "roundrobin"}
	m.join("joined")
	s.described("before the sync", m.group)
	m.beat("heartbeat before the sync")
	s.start("one", "commit before the sync", m.commitRequest(3)).wait()
	m.sync("synced", m)
	m.sync("synced again")
	m.beat("heartbeat")
	s.start("one", "committed", m.commitRequest(3)).wait()
	s.described("stable", m.group)
	m.join("joined again")
	m.sync("synced once more", m)
	s.start("one", "left", m.leaveRequest()).wait()
	s.start("one", "left again", m.leaveRequest()).wait()
	m.beat("heartbeat after that")
	s.described("empty", m.group)
	m.join("joined after it left")
	m.id = ""
	m.join("joined as another")
}

func twoMembers(s *script) {
	a, b := s.newMember("a", s.unique("g")), s.newMember("b", s.unique("g"))
	a.join("a joined")
	a.sync("a synced", a)
	second := b.startJoin("b joined")
	a.rebalances()
	s.described("while it rebalances", a.group)
	s.start("a", "commit while it rebalances", a.commitRequest(7)).wait()
	a.sync("a synced while it rebalances", a)
	a.join("a joined again")
	b.joined(second)
	s.described("before the sync", a.group)
	waits := s.start("b", "b synced", b.syncRequest())
	a.beat("a before the sync")
	a.sync("a synced for both", a, b)
	waits.wait()
	a.beat("a")
	b.beat("b")
	s.described("stable", a.group)
	b.generation--
	b.beat("b of an old generation")
	b.generation += 2
	b.beat("b of a generation to come")
	b.generation--
	b.protocols = []string{"roundrobin"}
	s.start("b2", "b with another protocol", b.request()).wait()
	b.protocols = []string{"range"}
	s.start("b", "b joined again as it was", b.request()).wait()
	s.start("b", "b left", b.leaveRequest()).wait()
	a.rebalances()
	b.beat("b is gone")
	a.join("a joined alone")
	a.sync("a synced alone", a)
	a.join("leader joined again")
	s.described("in the end", a.group)
}

func joinsWrongly(s *script) {
	group := s.unique("g")
	try := func(label string, change func(r *kmsg.JoinGroupRequest)) {
		req := joinRequest(group, "", "range")
		change(req)
		s.start("wrong", label, req).wait()
	}
	try("no group", func(r *kmsg.JoinGroupRequest) { r.Group = "" })
	for _, ms := range []int32{0, -1, 5999, 1_800_001, 1 << 30} {
		try(fmt.Sprint("session timeout ", ms), func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = ms })
	}
	try("unknown member", func(r *kmsg.JoinGroupRequest) { r.MemberID = "nobody" })
	try("unknown member without a group", func(r *kmsg.JoinGroupRequest) { r.Group, r.MemberID = "nowhere", "nobody" })
	try("no protocol type", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" })
	try("no protocols", func(r *kmsg.JoinGroupRequest) { r.Protocols = nil })
	try("long group", func(r *kmsg.JoinGroupRequest) { r.Group = s.unique(strings.Repeat("x", 300)) })
	try("long protocol type", func(r *kmsg.JoinGroupRequest) {
		r.Group, r.ProtocolType = s.unique("g4"), strings.Repeat("x", 300)
	})
	m := s.newMember("right", group)
	m.join("right")
	m.sync("synced", m)
	try("another protocol type", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "connect" })
	try("another protocol", func(r *kmsg.JoinGroupRequest) { r.Protocols[0].Name = "sticky" })
	try("unknown member of a group", func(r *kmsg.JoinGroupRequest) { r.MemberID = "nobody" })
	try("no protocols in a group", func(r *kmsg.JoinGroupRequest) { r.Protocols = nil })
	try("no protocol type in a group", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" })
	if s.version >= 5 {
		try("unknown static member", func(r *kmsg.JoinGroupRequest) { r.InstanceID, r.MemberID = kmsg.StringPtr("static"), "nobody" })
		try("instance of an odd name", func(r *kmsg.JoinGroupRequest) { r.Group, r.InstanceID = s.unique("g2"), kmsg.StringPtr("a b/c") })
		try("instance of a long name", func(r *kmsg.JoinGroupRequest) {
			r.Group, r.InstanceID = s.unique("g3"), kmsg.StringPtr(strings.Repeat("x", 250))
		})
		try("instance of no name", func(r *kmsg.JoinGroupRequest) { r.Group, r.InstanceID = s.unique("g1"), kmsg.StringPtr("") })
	}
}

func staticMember(s *script) {
	if s.version < 5 {
		return // has none
	}
	group := s.unique("g")
	old := s.newMember("old", group)
	old.instance = kmsg.StringPtr("static")
	old.join("joined")
	old.sync("synced", old)
	s.described("stable", group)
	again := s.newMember("new", group)
	again.instance = old.instance
	again.join("replaced")
	old.beat("the old one")
	old.sync("sync of the old one")
	s.start("old", "commit of the old one", old.commitRequest(4)).wait()
	s.start("old", "join of the old one", old.request()).wait()
	again.sync("synced again", again)
	again.beat("the new one")
	s.start("new", "commit of the new one", again.commitRequest(4)).wait()
	other := s.newMember("other", group)
	other.instance, other.id, other.generation = kmsg.StringPtr("strange"), again.id, again.generation
	other.beat("another instance")
	other.instance, other.id = old.instance, "nobody"
	other.beat("the instance with another id")
	s.described("replaced, stable", group)
	again.instance = nil
	again.beat("no instance")
	again.instance = old.instance
	last := again.leaveRequest()
	last.Members[0].MemberID = ""
	s.start("new", "left by instance", last).wait()
	s.start("new", "left twice", last).wait()
	s.described("empty", group)
}

// staticMemberChanges has a static member come back with other topics.
func staticMemberChanges(s *script) {
	if s.version < 5 {
		return // has none
	}
	a, b := s.newMember("a", s.unique("g")), s.newMember("b", s.unique("g"))
	a.instance, b.instance = kmsg.StringPtr("a"), kmsg.StringPtr("b")
	a.join("")
	a.sync("", a)
	second := b.startJoin("")
	a.rebalances()
	a.join("")
	b.joined(second)
	waits := s.start("b", "", b.syncRequest())
	a.sync("", a, b)
	waits.wait()
	again := s.newMember("a2", a.group)
	again.instance, again.topics = a.instance, []string{"base", "trimmed"}
	p := again.startJoin("joined with other topics")
	if s.settlesSoon(b) {
		s.record("rebalance", s.version, "of the other", map[string]string{"": "yes"})
		s.start("b", "", b.request()).wait()
	} else {
		s.record("rebalance", s.version, "of the other", map[string]string{"": "no"})
	}
	again.joined(p)
}

// settlesSoon tells whether a member is told to join again within a moment.
func (s *script) settlesSoon(m *member) bool {
	for range 30 {
		if s.start(m.client, "", m.heartbeatRequest()).wait().(*kmsg.HeartbeatResponse).ErrorCode == 27 {
			return true
		}
		pause()
	}
	return false
}

// choosesProtocol has members that have different ones. There is no tie: Kafka
// decides that by the order of a hash table.
func choosesProtocol(s *script) {
	a, b := s.newMember("a", s.unique("g")), s.newMember("b", s.unique("g"))
	a.protocols, b.protocols = []string{"cooperative", "range", "sticky"}, []string{"range", "roundrobin", "sticky"}
	a.join("")
	a.sync("", a)
	second := b.startJoin("")
	a.rebalances()
	a.join("a joined")
	b.joined(second)
	s.described("chosen", a.group)
}

// stable makes a group of one member.
func (s *script) stable(group string) *member {
	m := s.newMember("stable", group)
	m.join("")
	m.id = strings.TrimSpace(m.id)
	m.sync("", m)
	return m
}

func syncsWrongly(s *script) {
	m := s.stable(s.unique("g"))
	try := func(label string, change func(r *kmsg.SyncGroupRequest)) {
		req := m.syncRequest(m)
		change(req)
		s.do(label, req)
	}
	try("right", func(*kmsg.SyncGroupRequest) {})
	try("no group", func(r *kmsg.SyncGroupRequest) { r.Group = "" })
	try("unknown group", func(r *kmsg.SyncGroupRequest) { r.Group = "nowhere" })
	try("unknown member", func(r *kmsg.SyncGroupRequest) { r.MemberID = "nobody" })
	try("no member", func(r *kmsg.SyncGroupRequest) { r.MemberID = "" })
	try("old generation", func(r *kmsg.SyncGroupRequest) { r.Generation-- })
	try("generation to come", func(r *kmsg.SyncGroupRequest) { r.Generation++ })
	try("generation -1", func(r *kmsg.SyncGroupRequest) { r.Generation = -1 })
	try("unknown instance", func(r *kmsg.SyncGroupRequest) { r.InstanceID = kmsg.StringPtr("static") })
	try("another protocol type", func(r *kmsg.SyncGroupRequest) { r.ProtocolType = kmsg.StringPtr("connect") })
	try("another protocol", func(r *kmsg.SyncGroupRequest) { r.Protocol = kmsg.StringPtr("sticky") })
	try("no protocol type", func(r *kmsg.SyncGroupRequest) { r.ProtocolType = nil })
	try("no protocol", func(r *kmsg.SyncGroupRequest) { r.Protocol = nil })
	try("unknown assigned", func(r *kmsg.SyncGroupRequest) { r.GroupAssignment[0].MemberID = "nobody" })
	m.join("")
	try("unknown assigned, before the sync", func(r *kmsg.SyncGroupRequest) { r.GroupAssignment[0].MemberID = "nobody" })
	m.join("")
	try("none assigned", func(r *kmsg.SyncGroupRequest) { r.GroupAssignment = nil })
	try("of a simple group", func(r *kmsg.SyncGroupRequest) { r.Group = "simple" })
}

func heartbeats(s *script) {
	m := s.stable(s.unique("g"))
	try := func(label string, change func(r *kmsg.HeartbeatRequest)) {
		req := m.heartbeatRequest()
		change(req)
		s.do(label, req)
	}
	try("right", func(*kmsg.HeartbeatRequest) {})
	try("no group", func(r *kmsg.HeartbeatRequest) { r.Group = "" })
	try("unknown group", func(r *kmsg.HeartbeatRequest) { r.Group = "nowhere" })
	try("simple group", func(r *kmsg.HeartbeatRequest) { r.Group = "simple" })
	try("unknown member", func(r *kmsg.HeartbeatRequest) { r.MemberID = "nobody" })
	try("no member", func(r *kmsg.HeartbeatRequest) { r.MemberID = "" })
	try("old generation", func(r *kmsg.HeartbeatRequest) { r.Generation-- })
	try("generation -1", func(r *kmsg.HeartbeatRequest) { r.Generation = -1 })
	try("unknown instance", func(r *kmsg.HeartbeatRequest) { r.InstanceID = kmsg.StringPtr("static") })
}

func leaves(s *script) {
	m := s.stable(s.unique("g"))
	try := func(label string, change func(r *kmsg.LeaveGroupRequest)) {
		req := m.leaveRequest()
		change(req)
		s.do(label, req)
	}
	try("no group", func(r *kmsg.LeaveGroupRequest) { r.Group = "" })
	try("unknown group", func(r *kmsg.LeaveGroupRequest) { r.Group = "nowhere" })
	try("simple group", func(r *kmsg.LeaveGroupRequest) { r.Group = "simple" })
	try("unknown member", func(r *kmsg.LeaveGroupRequest) { r.MemberID, r.Members[0].MemberID = "nobody", "nobody" })
	try("no member", func(r *kmsg.LeaveGroupRequest) { r.MemberID, r.Members[0].MemberID = "", "" })
	if s.version >= 3 {
		try("nobody", func(r *kmsg.LeaveGroupRequest) { r.Members = nil })
		try("unknown instance", func(r *kmsg.LeaveGroupRequest) { r.Members[0].InstanceID = kmsg.StringPtr("static") })
		try("several", func(r *kmsg.LeaveGroupRequest) {
			r.Members = append([]kmsg.LeaveGroupRequestMember{{MemberID: "nobody"}}, r.Members[0], r.Members[0])
		})
	}
	try("right", func(*kmsg.LeaveGroupRequest) {})
	s.described("empty", m.group)
}

func describeGroups(s *script) {
	m := s.stable(s.unique("g"))
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{m.group, "simple", "nowhere", ""}
	s.do("right and wrong", req)
	req.IncludeAuthorizedOperations = true
	s.do("with operations", req)
	req.Groups = []string{m.group, m.group}
	s.do("twice", req)
	req.Groups = nil
	s.do("nothing", req)
}

func listGroups(s *script) {
	m := s.stable(s.unique("g"))
	req := kmsg.NewPtrListGroupsRequest()
	s.do("all", req)
	for _, states := range [][]string{{"Stable"}, {"stable"}, {"Empty", "Stable"}, {"Dead"}, {"nonsense"}, {""}} {
		req.StatesFilter = states
		s.do(fmt.Sprint("states ", states), req)
	}
	req.StatesFilter = nil
	for _, types := range [][]string{{"classic"}, {"Classic"}, {"consumer"}, {"classic", "consumer"}, {"share"}, {"streams"}, {"nonsense"}, {""}} {
		req.TypesFilter = types
		s.do(fmt.Sprint("types ", types), req)
	}
	s.start("stable", "", m.leaveRequest()).wait()
	gone := kmsg.NewPtrDeleteGroupsRequest()
	gone.Groups = []string{m.group}
	s.do("deleted", gone)
}

func deleteGroups(s *script) {
	m, other := s.stable(s.unique("g")), s.unique("h")
	for i := range 2 {
		ask[*kmsg.OffsetCommitResponse](s, commitRequest(s, fmt.Sprint(other, i), "base", 0, 1))
	}
	try := func(label string, groups ...string) {
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = groups
		s.do(label, req)
	}
	try("not empty", m.group)
	try("unknown", "nowhere", "")
	try("twice", other+"0", other+"0")
	try("right and wrong", other+"1", m.group, "nowhere")
	s.described("what is left", other+"0", other+"1", m.group)
	try("nothing")
}
