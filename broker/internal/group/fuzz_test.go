// SPDX-License-Identifier: Apache-2.0

package group

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzReplay: no record of the log makes the coordinator panic or hang, and a
// group that was restored from one is written as a record that restores it.
func FuzzReplay(f *testing.F) {
	g := newGroup("g")
	g.protocolType, g.protocol, g.generation = "consumer", "range", 3
	g.add(&member{
		id: "a-1", instance: kmsg.StringPtr("a"), client: Client{"a", "/10.0.0.1"},
		sessionTimeout: 10 * time.Second, rebalanceTimeout: time.Minute,
		protocols:  []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: subscribe("t")}},
		assignment: []byte("all"),
	})
	tp := topicPartition{"t", 1}
	seeds := []Record{
		groupRecord(g),
		groupTombstone("g"),
		offsetRecord("g", tp, committed{offset: 1, leaderEpoch: 2, metadata: "m", commitTime: 3, expireTime: -1}),
		offsetRecord("g", tp, committed{offset: 1, commitTime: 3, expireTime: 4}),
		offsetTombstone("g", tp),
	}
	for version := range int16(5) { // flexible since 4
		v := kmsg.NewGroupMetadataValue()
		if err := v.ReadFrom(groupRecord(g).Value); err != nil {
			f.Fatal(err)
		}
		v.Version = version
		seeds = append(seeds, Record{groupTombstone("g").Key, v.AppendTo(nil)},
			Record{groupTombstone("g").Key, append(v.AppendTo(nil), 0xff, 0xff, 0xff, 0xff, 0x0f)})
		o := kmsg.NewOffsetCommitValue()
		o.Version, o.Metadata = version, "m"
		seeds = append(seeds, Record{offsetTombstone("g", tp).Key, o.AppendTo(nil)})
	}
	c := newCore(testConfig(nil))
	cg := c.create("g")
	cg.modern = newModern()
	mod := cg.modern
	mod.epoch, mod.hash, mod.assignmentEpoch, mod.assignmentTime = 3, 4, 2, 5
	one := [16]byte{1}
	mod.put(&consumer{
		consumerMeta{
			id: "a", instance: kmsg.StringPtr("one"), rack: kmsg.StringPtr("r"), client: Client{"a", "/10.0.0.1"},
			rebalanceTimeout: time.Minute, topics: []string{"t", "u"}, regex: "x.*", assignor: kmsg.StringPtr("range"),
			classic: &classicMeta{10 * time.Second, []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: subscribe("t")}}},
		},
		consumerState{memberUnrevoked, 2, 1, owned{one: {0: 1, 1: 2}}, owned{one: {2: 1}}},
	})
	mod.put(&consumer{consumerMeta{id: "b"}, consumerState{epoch: epochLeaveStatic}})
	mod.targets["a"] = partitions{one: {0, 1}}
	mod.regexes["x.*"] = []string{"x", "xx"}
	mod.oldMeta = true
	seeds = append(seeds, modernRecords(cg)...)
	for _, r := range modernRecords(cg) {
		seeds = append(seeds, Record{Key: r.Key})
	}
	for _, r := range seeds {
		f.Add(r.Key, r.Value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		c := newCore(testConfig(nil))
		if err := c.replay(bytes.Clone(key), bytes.Clone(value)); err != nil {
			if len(c.groups) != 0 {
				t.Fatalf("a record that was refused (%v) had an effect", err)
			}
			return
		}
		var again []Record
		for _, g := range c.groups {
			if g.modern != nil {
				again = append(again, modernRecords(g)...)
			}
			if g.persisted {
				again = append(again, groupRecord(g))
			}
			for tp, o := range g.offsets {
				again = append(again, offsetRecord(g.id, tp, o))
			}
		}
		second := replayed(t, testConfig(nil), again)
		if diff := cmp.Diff(settledImages(c, nil), settledImages(second, nil), compareUnexported); diff != "" {
			t.Fatalf("a restored group is written as another (-first +second):\n%s", diff)
		}
		now := time.UnixMilli(1_700_000_000_000)
		c.loaded(now)
		for range 100 { // whatever the record said, its members leave in the end
			fx := c.step(now, nil)
			if fx.deadline.IsZero() {
				break
			}
			now = fx.deadline
		}
	})
}

// modernRecords returns all that the log must have of a consumer group.
func modernRecords(g *group) []Record {
	mod := g.modern
	recs := []Record{epochRecord(g.id, mod), targetEpochRecord(g.id, mod)}
	if mod.oldMeta {
		r := groupKeyTombstone(keyPartitionMeta, g.id)
		r.Value = []byte{0, 0, 1, 0}
		recs = append(recs, r)
	}
	for _, id := range mod.ids() {
		m := mod.members[id]
		recs = append(recs, memberRecord(g.id, &m.consumerMeta), currentRecord(g.id, id, &m.consumerState))
	}
	for id, target := range mod.targets {
		recs = append(recs, targetRecord(g.id, id, target))
	}
	for expr, topics := range mod.regexes {
		recs = append(recs, regexRecord(g.id, expr, topics, 1))
	}
	return recs
}

// TestModernRecordsSurviveTheLog: what is written of a consumer group is read
// back, in any order.
func TestModernRecordsSurviveTheLog(t *testing.T) {
	h := newCheckedCore(t, testConfig(nil))
	h.topics = NewTopics([]Topic{{"orders", [16]byte{1}, 5}, {"users", [16]byte{2}, 3}})
	h.step(topicsEvent{h.topics})
	for i, name := range []string{"a", "b", "c"} {
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis = 1, "g", name, 1000
		req.InstanceID, req.RackID, req.SubscribedTopicRegex = &name, &name, kmsg.StringPtr("o.*")
		req.SubscribedTopicNames = []string{"users"}
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		h.step(consumerHeartbeatEvent{token: token(i + 1), client: someClient, req: req})
	}
	want := settledImages(h.core, nil)
	recs := modernRecords(h.core.groups["g"])
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		rng.Shuffle(len(recs), func(i, j int) { recs[i], recs[j] = recs[j], recs[i] })
		got := settledImages(replayed(t, testConfig(nil), recs), nil)
		if diff := cmp.Diff(want, got, compareUnexported); diff != "" {
			t.Fatalf("-live +replayed:\n%s", diff)
		}
	}
}

// FuzzReadSubscription: the readers of the consumer protocol agree with kmsg on
// what both read.
func FuzzReadSubscription(f *testing.F) {
	f.Add(subscribe("orders"))
	f.Add(subscribeOwning(map[string][]int32{"orders": {1, 2}}, "orders", "users"))
	f.Add([]byte{0, 3, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		readAssignment(data)
		s, ok := readSubscription(data)
		var m kmsg.ConsumerMemberMetadata
		if len(data) > 1<<12 || m.ReadFrom(data) != nil || !ok || m.Version > newestConsumerProtocol {
			return
		}
		owns := make(map[string]int)
		for _, o := range s.owned {
			owns[o.topic] += len(o.partitions)
		}
		for _, o := range m.OwnedPartitions {
			owns[o.Topic] -= len(o.Partitions)
		}
		for topic, n := range owns {
			if n != 0 {
				t.Fatalf("%q: %d partitions more than kmsg reads", topic, n)
			}
		}
		if len(s.topics)+len(m.Topics) > 0 && !cmp.Equal(s.topics, m.Topics) || !equalPtr(s.rack, m.Rack) {
			t.Fatalf("read %+v, kmsg reads %+v", s, m)
		}
	})
}

// FuzzSubscribedTopics: the prefix reader agrees with kmsg on what both read.
func FuzzSubscribedTopics(f *testing.F) {
	f.Add(subscribe())
	f.Add(subscribe("orders", "users"))
	f.Fuzz(func(t *testing.T, metadata []byte) {
		got, ok := subscribedTopics(metadata)
		var m kmsg.ConsumerMemberMetadata
		if err := m.ReadFrom(metadata); err != nil {
			return
		}
		if !ok && len(m.Topics) > 0 { // kmsg takes a null array for an empty one
			t.Fatal("not read, but kmsg reads it")
		}
		if len(got)+len(m.Topics) > 0 && !cmp.Equal(got, m.Topics) {
			t.Fatalf("read %q, kmsg reads %q", got, m.Topics)
		}
	})
}

// FuzzOpaqueBytes: metadata and assignments go through a rebalance and a
// restart as they are, whatever they are.
func FuzzOpaqueBytes(f *testing.F) {
	f.Add("range", subscribe("orders"), []byte("all"))
	f.Add("", []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, protocol string, metadata, assignment []byte) {
		if len(protocol) > maxString {
			return
		}
		h := newCheckedCore(t, testConfig(nil))
		join := joinRequest("g", "")
		join.Version = 5
		join.InstanceID = kmsg.StringPtr("one")
		join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: protocol, Metadata: metadata}}
		h.step(joinEvent{token: 1, req: join, fresh: "1"})
		h.step(nil) // no initial delay; put off once, since a member joined
		fx := h.step(syncEvent{token: 2, req: syncRequest("g", "one-1", 1, map[string]string{"one-1": string(assignment)})})
		if len(fx.replies) != 1 || fx.replies[0].body.(*kmsg.SyncGroupResponse).ErrorCode != errNone {
			t.Fatalf("sync: %s", describeEffects(fx))
		}
		h.restart(h.log)
		fx = h.step(syncEvent{token: 3, req: syncRequest("g", "one-1", 1, nil)})
		if got := fx.replies[0].body.(*kmsg.SyncGroupResponse).MemberAssignment; !bytes.Equal(got, assignment) {
			t.Fatalf("assignment = %q, want %q", got, assignment)
		}
		fx = h.step(describeEvent{token: 4, group: "g"})
		if got := fx.replies[0].body.(kmsg.DescribeGroupsResponseGroup).Members[0].ProtocolMetadata; !bytes.Equal(got, metadata) {
			t.Fatalf("metadata = %q, want %q", got, metadata)
		}
		join2 := *join
		h.step(joinEvent{token: 5, req: &join2, fresh: "2"})
	})
}
