// SPDX-License-Identifier: Apache-2.0

package link

import (
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A Dest is where a lane's records go: a topic, or one partition of it. It is
// used with one lane.
type Dest struct {
	Topic string
	Num   int32 // AnyPartition: by key

	last atomic.Int64
	ack  func(*kgo.Record, error)

	// Of a lane of batches.
	lane   *batchLane
	led    *led    // of AnyPartition
	piles  []*pile // by partition, or the one
	sticky int32   // where records without a key go as long as their batch has room
}

// NewDest makes a destination.
func NewDest(topic string, partition int32) *Dest {
	d := &Dest{Topic: topic, Num: partition}
	d.last.Store(-1)
	d.ack = d.acked // once, not for each record
	return d
}

// Last is the offset of the last acknowledged record, -1 if there is none yet. It
// is meant for destinations that name their partition. Safe for concurrent use.
func (d *Dest) Last() int64 { return d.last.Load() }

// Acked notes an acknowledged offset: for links of other kinds. An offset that
// the broker does not tell (a duplicate of a batch that it had already) is -1 and
// leaves Last where it was, which is safe: positions that lag are replayed.
func (d *Dest) Acked(offset int64) {
	if d.Num != AnyPartition && offset >= 0 {
		d.last.Store(offset)
	}
}

// acked is the promise of every record sent here. The client calls promises one
// after the other, those of a partition in order.
func (d *Dest) acked(r *kgo.Record, err error) {
	s := r.Context.(*slab)
	if err != nil {
		s.lane.fail(fmt.Errorf("produce to %s: %w", d.name(r), err))
	} else {
		d.Acked(r.Offset)
	}
	s.release(1)
}

func (d *Dest) name(r *kgo.Record) string {
	if r.Partition >= 0 {
		return Partition{d.Topic, r.Partition}.String()
	}
	return d.Topic
}
