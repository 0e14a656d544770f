// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/internal/vfs"
)

// listed asks for an offset of partition 0, and tells its code, offset, and epoch.
func listed(c *client, version int16, topic string, timestamp int64) string {
	c.t.Helper()
	req := withVersion(kmsg.NewPtrListOffsetsRequest(), version)
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Timestamp, rp.CurrentLeaderEpoch = timestamp, -1
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{rp}}}
	p := do[*kmsg.ListOffsetsResponse](c, req).Topics[0].Partitions[0]
	return fmt.Sprintf("code %d offset %d epoch %d", p.ErrorCode, p.Offset, p.LeaderEpoch)
}

// What Apache Kafka 4.3.1 answers for timestamps that stand for something else,
// without tiered storage.
func TestListOffsetsOfSpecialTimestamps(t *testing.T) {
	c := dial(t, open(t, broker.Config{}))
	mustCreate(c, "empty", 1)
	mustCreate(c, "t", 1)
	mustProduce(c, "t", "a", "b", "c")
	const unsupported, nothing = "code 35 offset -1 epoch -1", "code 0 offset -1 epoch -1"
	for timestamp, tt := range map[int64]struct {
		since       int16
		full, empty string
	}{
		-1: {1, "code 0 offset 3 epoch 0", "code 0 offset 0 epoch 0"},
		-2: {1, "code 0 offset 0 epoch 0", "code 0 offset 0 epoch 0"},
		-3: {7, "code 0 offset 2 epoch 0", nothing},
		-4: {8, "code 0 offset 0 epoch 0", "code 0 offset 0 epoch 0"},
		-5: {9, nothing, nothing},
		-6: {11, nothing, nothing},
		-7: {12, "", ""},
	} {
		for version := int16(4); version <= 11; version++ {
			full, empty := tt.full, tt.empty
			if version < tt.since {
				full, empty = unsupported, unsupported
			}
			if got := listed(c, version, "t", timestamp); got != full {
				t.Errorf("v%d, timestamp %d: %s, want %s", version, timestamp, got, full)
			}
			if got := listed(c, version, "empty", timestamp); got != empty {
				t.Errorf("v%d, timestamp %d of an empty log: %s, want %s", version, timestamp, got, empty)
			}
		}
	}
}

// The epoch of an offset is that of its record, or of the leader that will write it.
func TestListOffsetsTellsEpochs(t *testing.T) {
	cfg := broker.Config{FS: vfs.NewMem(), Dir: "/d", Logger: quiet}
	both := func(c *client) []string {
		return []string{listed(c, 11, "t", -2), listed(c, 11, "t", -1)}
	}
	b, err := broker.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, b)
	mustCreate(c, "t", 1)
	mustProduce(c, "t", "a", "b")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	c = dial(t, open(t, cfg))
	for _, step := range []struct {
		do   func()
		want []string
	}{
		{func() {}, []string{"code 0 offset 0 epoch 0", "code 0 offset 2 epoch 1"}},
		{func() { mustProduce(c, "t", "c") }, []string{"code 0 offset 0 epoch 0", "code 0 offset 3 epoch 1"}},
		{func() { deleteBefore(c, "t", 2) }, []string{"code 0 offset 2 epoch 1", "code 0 offset 3 epoch 1"}},
		{func() { deleteBefore(c, "t", 3) }, []string{"code 0 offset 3 epoch 1", "code 0 offset 3 epoch 1"}},
	} {
		step.do()
		if diff := cmp.Diff(step.want, both(c)); diff != "" {
			t.Errorf("earliest and latest: %s", diff)
		}
	}
}

// Epochs that left no record end where the next begins, as in Apache Kafka: a client
// that was told of one at the end of the log finds that nothing was cut.
func TestEpochsWithoutRecords(t *testing.T) {
	cfg := broker.Config{FS: vfs.NewMem(), Dir: "/d", Logger: quiet}
	var got []string
	for run := range 4 {
		b, err := broker.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, b)
		if run == 0 {
			mustCreate(c, "t", 1)
			mustCreate(c, "empty", 1)
			mustProduce(c, "t", "a", "b")
		}
		if run == 3 {
			got = append(got, epochEnds(c, "t", 4), epochEnds(c, "empty", 4))
			mustProduce(c, "t", "c")
			got = append(got, epochEnds(c, "t", 4))
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"0:2 0:2 0:2 3:2 -1:-1", "0:0 1:0 2:0 3:0 -1:-1", "0:2 0:2 0:2 3:3 -1:-1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// epochEnds are the answers for the epochs from 0 on: epoch found and end offset.
func epochEnds(c *client, topic string, last int32) string {
	c.t.Helper()
	var all []string
	for epoch := range last + 1 {
		req := withVersion(kmsg.NewPtrOffsetForLeaderEpochRequest(), 4)
		q := kmsg.OffsetForLeaderEpochRequestTopicPartition{CurrentLeaderEpoch: -1, LeaderEpoch: epoch}
		req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{q}}}
		p := do[*kmsg.OffsetForLeaderEpochResponse](c, req).Topics[0].Partitions[0]
		all = append(all, fmt.Sprintf("%d:%d", p.LeaderEpoch, p.EndOffset))
	}
	return strings.Join(all, " ")
}
