// SPDX-License-Identifier: Apache-2.0

package records

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// What comes while a topic is read to its end is not part of it.
func TestTracker(t *testing.T) {
	at := func(p int32, o int64) *kgo.Record { return &kgo.Record{Topic: "t", Partition: p, Offset: o} }
	tr := trackAll(map[topicPartition]span{{"t", 0}: {2, 4}, {"t", 1}: {7, 7}})
	for _, step := range []struct {
		record       *kgo.Record
		before, done bool
	}{
		{at(0, 2), true, false},
		{at(1, 7), false, false}, // new
		{at(0, 3), true, true},
		{at(0, 4), false, true}, // new
	} {
		if before := tr.seen(step.record); before != step.before || tr.done() != step.done {
			t.Errorf("%d@%d was there before: %v, all is seen: %v; want %v, %v",
				step.record.Partition, step.record.Offset, before, tr.done(), step.before, step.done)
		}
	}
	gap := trackAll(map[topicPartition]span{{"t", 0}: {0, 4}})
	gap.seen(at(0, 9)) // what was between is gone: compacted, or deleted meanwhile
	if !gap.done() {
		t.Error("a record behind the end does not end it")
	}
	if newTracker(nil).done() {
		t.Error("a member is done before it was assigned anything")
	}
}
