// SPDX-License-Identifier: Apache-2.0

package group

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts in testdata gave as what they want")

// TestScripts runs the files of testdata/rebalance and testdata/consumer. A file has blocks of
// commands and what they give:
//
//	# comment
//	command [name] [key=value ...]
//	----
//	what came out, up to an empty line
//
// A name stands for a client: its client id, and the member id and generation
// that it was told last, unless the command gives others. The n-th JoinGroup
// makes member ids that end in "-n". Each step is also checked as checkedCore
// says.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, string(src))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.Split(string(src), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}

// runScript returns src with the output of its commands.
func runScript(t *testing.T, src string) string {
	cfg := testConfig(nil)
	cfg.InitialRebalanceDelay = 3 * time.Second
	cfg.GroupMaxSize, cfg.ConsumerMaxSize = 4, 4
	s := &script{checkedCore: newCheckedCore(t, cfg), clients: map[string]*scriptClient{}, tokens: map[token]string{}}
	var b strings.Builder
	expected := false // between ---- and the empty line
	for line := range strings.Lines(src) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case expected && line != "":
		case line == "----":
			expected = true
			b.WriteString("----\n" + s.out.String())
			s.out.Reset()
		default:
			expected = false
			b.WriteString(line + "\n")
			if line != "" && line[0] != '#' {
				s.command(line)
			}
		}
	}
	return b.String()
}

type script struct {
	*checkedCore
	out     strings.Builder
	clients map[string]*scriptClient
	tokens  map[token]string
	last    token
	joins   int
}

type scriptClient struct {
	id         string
	generation int32
	epoch      int32      // of the consumer protocol
	has        partitions // that it was told to have
}

// args are the words of a command.
type args struct {
	verb, name string
	kv         map[string]string
	words      []string // neither verb, name nor key=value with a known key
}

func (a args) str(key, or string) string {
	if v, ok := a.kv[key]; ok {
		return v
	}
	return or
}

func (a args) num(key string, or int) int {
	n, err := strconv.Atoi(a.str(key, strconv.Itoa(or)))
	if err != nil {
		panic(err)
	}
	return n
}

func (a args) ms(key, or string) int32 {
	d, err := time.ParseDuration(a.str(key, or))
	if err != nil {
		panic(err)
	}
	return int32(d.Milliseconds())
}

// days reads the second word of a command as in 8d.
func (a args) days() int {
	n, err := strconv.Atoi(strings.TrimSuffix(a.words[1], "d"))
	if err != nil {
		panic(err)
	}
	return n
}

func parseArgs(line string) args {
	words := strings.Fields(line)
	a := args{verb: words[0], kv: map[string]string{}}
	for _, w := range words[1:] {
		if k, v, ok := strings.Cut(w, "="); ok && !strings.Contains(k, "/") {
			a.kv[k] = v
		} else {
			a.words = append(a.words, w)
		}
	}
	if len(a.words) > 0 {
		a.name = a.words[0]
	}
	return a
}

func (s *script) client(name string) *scriptClient {
	if s.clients[name] == nil {
		s.clients[name] = &scriptClient{}
	}
	return s.clients[name]
}

func (s *script) command(line string) {
	a := parseArgs(line)
	switch a.verb {
	case "wait":
		d, err := time.ParseDuration(a.name)
		if err != nil {
			s.t.Fatal(err)
		}
		s.wait(d)
		return
	case "beats-consumer": // the same with ConsumerGroupHeartbeat
		for range a.days() * 24 * 60 * 2 {
			s.wait(30 * time.Second)
			s.last++
			s.step(s.event(args{verb: "hb", name: a.name}))
		}
		return
	case "beats": // a heartbeat every 29 minutes for some days
		for range a.days() * 24 * 60 / 29 {
			s.wait(29 * time.Minute)
			s.last++
			s.step(s.event(args{verb: "beat", name: a.name}))
		}
		return
	case "restart":
		s.show("", s.restart(s.log))
		return
	case "topics":
		s.topics = parseTopics(a.words)
		s.step(topicsEvent{s.topics})
		return
	case "topic-deleted":
		s.show("", s.step(topicDeletedEvent{a.name}))
		return
	}
	s.last++
	s.tokens[s.last] = a.name
	s.show("", s.step(s.event(a)))
}

// wait lets time pass, from deadline to deadline.
func (s *script) wait(d time.Duration) {
	start, end := s.now, s.now.Add(d)
	for !s.deadline.IsZero() && !s.deadline.After(end) {
		s.now = s.deadline
		s.show(fmt.Sprintf("after %v: ", s.now.Sub(start)), s.step(nil))
	}
	s.now = end
	s.show("", s.step(nil))
}

// show prints effects and has the clients learn from their replies.
func (s *script) show(prefix string, fx effects) {
	for _, n := range fx.notes {
		if n.text == "member evicted" {
			fmt.Fprintf(&s.out, "%sevicted %s: %s\n", prefix, n.member, n.reason)
		}
	}
	for _, r := range fx.records {
		fmt.Fprintf(&s.out, "%slog: %s\n", prefix, describeRecord(r))
	}
	for _, r := range fx.replies {
		name := s.tokens[r.token]
		if join, ok := r.body.(*kmsg.JoinGroupResponse); ok && join.MemberID != "" {
			c := s.client(name)
			c.id = join.MemberID
			if join.ErrorCode == errNone {
				c.generation = join.Generation
			}
		}
		if beat, ok := r.body.(*kmsg.ConsumerGroupHeartbeatResponse); ok && beat.ErrorCode == errNone {
			c := s.client(name)
			c.epoch = beat.MemberEpoch
			if beat.Assignment != nil {
				c.has = make(partitions)
				for _, t := range beat.Assignment.Topics {
					c.has[t.TopicID] = t.Partitions
				}
			}
		}
		fmt.Fprintf(&s.out, "%s%s: %s\n", prefix, name, describe(r.body))
	}
}

// event makes the event of a command, for the token of it.
func (s *script) event(a args) event {
	c := s.client(a.name)
	group := a.str("group", "g")
	if group == "none" {
		group = ""
	}
	var instance *string
	if v, ok := a.kv["instance"]; ok {
		instance = &v
	}
	member := a.str("member", c.id)
	generation := int32(a.num("gen", int(c.generation)))
	switch a.verb {
	case "join":
		s.joins++
		req := joinRequest(group, member)
		req.Version = int16(a.num("v", 9))
		req.InstanceID = instance
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = a.ms("session", "10s"), a.ms("rebalance", "60s")
		req.ProtocolType = a.str("type", "consumer")
		owns := make(map[string][]int32)
		for w := range strings.SplitSeq(a.str("owns", ""), "+") {
			if w != "" {
				tp := parsePartition(w)
				owns[tp.topic] = append(owns[tp.topic], tp.partition)
			}
		}
		req.Protocols = nil
		for p := range strings.SplitSeq(a.str("protocols", "range:orders"), ",") {
			name, topics, _ := strings.Cut(p, ":")
			jp := kmsg.NewJoinGroupRequestProtocol()
			jp.Name, jp.Metadata = name, subscribe(strings.Split(topics, "+")...)
			if len(owns) > 0 {
				jp.Metadata = subscribeOwning(owns, strings.Split(topics, "+")...)
			}
			req.Protocols = append(req.Protocols, jp)
		}
		return joinEvent{token: s.last, client: Client{a.name, "/10.0.0.1"}, req: req, fresh: strconv.Itoa(s.joins)}
	case "sync":
		assign := map[string]string{}
		for kv := range strings.SplitSeq(a.str("assign", ""), ",") {
			if id, what, ok := strings.Cut(kv, ":"); ok {
				assign[id] = what
			}
		}
		req := syncRequest(group, member, generation, assign)
		req.InstanceID = instance
		if p, ok := a.kv["protocol"]; ok {
			req.Protocol = &p
		}
		return syncEvent{token: s.last, req: req}
	case "beat":
		req := heartbeatRequest(group, member, generation)
		req.InstanceID = instance
		return heartbeatEvent{token: s.last, req: req}
	case "leave":
		return leaveEvent{token: s.last, req: s.leaveRequest(a, group, member, instance)}
	case "commit":
		return s.commitEvent(a, group, member, generation, instance)
	case "fetch":
		e := fetchEvent{token: s.last, group: group, epoch: int32(a.num("epoch", -1)), all: len(a.words) == 1}
		if v, ok := a.kv["member"]; ok {
			e.member = &v
		}
		for _, w := range a.words[1:] {
			e.of = append(e.of, parsePartition(w))
		}
		return e
	case "describe":
		return describeEvent{token: s.last, version: int16(a.num("v", 6)), group: group}
	case "list":
		return listEvent{token: s.last, states: a.words[1:]}
	case "hb", "ack":
		return s.consumerEvent(a, group, instance)
	case "describe-consumer":
		return consumerDescribeEvent{token: s.last, group: group}
	case "offset-delete":
		return s.offsetDelete(a, group)
	case "delete":
		return deleteEvent{token: s.last, group: group}
	}
	s.t.Fatalf("unknown command %q", a.verb)
	return nil
}

func (s *script) leaveRequest(a args, group, member string, instance *string) *kmsg.LeaveGroupRequest {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version = int16(a.num("v", 5))
	req.Group, req.MemberID = group, member
	for id := range strings.SplitSeq(a.str("members", member), ",") {
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID, m.InstanceID = id, instance
		req.Members = append(req.Members, m)
	}
	return req
}

func parsePartition(s string) topicPartition {
	topic, p, _ := strings.Cut(s, "/")
	n, err := strconv.Atoi(p)
	if err != nil {
		panic(err)
	}
	return topicPartition{topic, int32(n)}
}

func (s *script) commitEvent(a args, group, member string, generation int32, instance *string) event {
	req := commitRequest(group, member, generation, "", 0)
	req.Version = int16(a.num("v", 9))
	req.InstanceID, req.Topics = instance, nil
	if v, ok := a.kv["retention"]; ok {
		req.Version = 4
		req.RetentionTimeMillis = int64(a.ms("retention", v))
	}
	e := commitEvent{token: s.last, req: req}
	for _, w := range a.words[1:] {
		where, offset, _ := strings.Cut(w, "=")
		n, err := strconv.Atoi(offset)
		if err != nil {
			s.t.Fatal(err)
		}
		tp := parsePartition(where)
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic = tp.topic
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = tp.partition, int64(n)
		if v, ok := a.kv["metadata"]; ok {
			p.Metadata = kmsg.StringPtr(strings.Repeat(v, max(1, a.num("times", 1))))
		}
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		e.names, e.codes = append(e.names, tp.topic), append(e.codes, errNone)
	}
	return e
}

// parseTopics reads topics as in orders:3. The id of a topic is its name, or
// what follows a slash: orders/2:3.
func parseTopics(words []string) *Topics {
	var topics []Topic
	for _, w := range words {
		name, n, _ := strings.Cut(w, ":")
		count, err := strconv.Atoi(n)
		if err != nil {
			panic(err)
		}
		t := Topic{Partitions: int32(count)}
		copy(t.ID[:], strings.ReplaceAll(name, "/", ""))
		t.Name, _, _ = strings.Cut(name, "/")
		topics = append(topics, t)
	}
	return NewTopics(topics)
}

// consumerEvent makes a ConsumerGroupHeartbeat. A member that joins says all of
// itself, later only what the command gives; ack says that the member has what
// it was told.
func (s *script) consumerEvent(a args, group string, instance *string) event {
	c := s.client(a.name)
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version = int16(a.num("v", 1))
	req.Group, req.MemberID, req.InstanceID = group, a.str("member", a.name), instance
	req.MemberEpoch = int32(a.num("epoch", int(c.epoch)))
	if v, ok := a.kv["rebalance"]; ok || req.MemberEpoch == 0 {
		if !ok {
			v = "60s"
		}
		req.RebalanceTimeoutMillis = a.ms("rebalance", v)
	}
	topics, named := a.kv["topics"]
	if expr, ok := a.kv["regex"]; ok {
		req.SubscribedTopicRegex = &expr
	} else if req.MemberEpoch == 0 && !named {
		topics, named = "orders", true
	}
	if named {
		req.SubscribedTopicNames = strings.FieldsFunc(topics, func(r rune) bool { return r == '+' })
	}
	if v, ok := a.kv["assignor"]; ok {
		req.ServerAssignor = &v
	}
	if v, ok := a.kv["rack"]; ok {
		req.RackID = &v
	}
	has, ok := a.kv["has"]
	if ok || req.MemberEpoch == 0 || a.verb == "ack" {
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	for _, w := range strings.FieldsFunc(has, func(r rune) bool { return r == '+' }) {
		t := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		tp := parsePartition(w)
		copy(t.TopicID[:], tp.topic)
		t.Partitions = []int32{tp.partition}
		req.Topics = append(req.Topics, t)
	}
	if a.verb == "ack" {
		for id, of := range c.has.inOrder() {
			t := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			t.TopicID, t.Partitions = id, of
			req.Topics = append(req.Topics, t)
		}
	}
	return consumerHeartbeatEvent{token: s.last, client: Client{a.name, "/10.0.0.1"}, req: req, fresh: "fresh-" + a.name}
}

func (s *script) offsetDelete(a args, group string) event {
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = group
	for _, w := range a.words[1:] {
		tp := parsePartition(w)
		t := kmsg.NewOffsetDeleteRequestTopic()
		t.Topic = tp.topic
		p := kmsg.NewOffsetDeleteRequestTopicPartition()
		p.Partition = tp.partition
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	return offsetDeleteEvent{token: s.last, req: req, exists: func(topic string, _ int32) bool { return topic != "unheard" }}
}

// subscribeOwning is the metadata of a cooperative consumer.
func subscribeOwning(owns map[string][]int32, topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = 1, topics
	for _, t := range slices.Sorted(maps.Keys(owns)) {
		m.OwnedPartitions = append(m.OwnedPartitions, kmsg.ConsumerMemberMetadataOwnedPartition{Topic: t, Partitions: owns[t]})
	}
	return m.AppendTo(nil)
}
