// SPDX-License-Identifier: Apache-2.0

package group

import (
	"bytes"
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
