// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
)

// A broker in memory takes the memory of its records, not a multiple of it, and
// gives it back with them.
func TestMemoryOfABrokerInMemory(t *testing.T) {
	b := open(t, broker.Config{SegmentBytes: 4 << 20})
	c := dial(t, b)
	mustCreate(c, "t", 1)
	before := heap()
	const total = 64 << 20
	value := strings.Repeat("x", 16<<10)
	for range total / len(value) {
		mustProduce(c, "t", value)
	}
	if grown := heap() - before; grown > total*5/4 {
		t.Errorf("records of %d bytes take %d", total, grown)
	}
	if code := alterAll(c, 2, ofTopic, "t", false, "file.delete.delay.ms", "0"); code != 0 {
		t.Fatalf("alter: code %d", code)
	}
	if end := b.HighWatermark("t", 0); deleteBefore(c, "t", end) != end {
		t.Errorf("records before %d were not deleted", end)
	}
	if left := heap() - before; left > total/4 {
		t.Errorf("after their deletion %d bytes are left", left)
	}
}

// deleteBefore deletes records of partition 0 and returns the new log start.
func deleteBefore(c *client, topic string, offset int64) int64 {
	c.t.Helper()
	req := withVersion(kmsg.NewPtrDeleteRecordsRequest(), 2)
	req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: offset}}}}
	return do[*kmsg.DeleteRecordsResponse](c, req).Topics[0].Partitions[0].LowWatermark
}
