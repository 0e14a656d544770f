// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/mutant"
)

// errNotAcknowledged says that a batch is in the log but that the wait for its
// acknowledgement ended first.
var errNotAcknowledged = errors.New("not acknowledged in time")

// A partition is this node's replica of one partition, of which it is the
// leader: a log, and how far it may be shown.
//
// The log end offset moves with each append; the high watermark follows once
// the flush policy and all in-sync followers have acknowledged. Consumers and
// acks=all producers see the high watermark only.
type partition struct {
	topic *topic
	index int32
	epoch int32 // leader epoch, of every append in this run
	log   *seglog.Log
	fsync bool // the flush policy acknowledges by fsync

	mu        sync.Mutex
	local     int64           // the flush policy has acknowledged all before it
	followers map[int32]int64 // in-sync followers by node id, and what they have
	hw        int64
	appended  int64 // bytes appended in this run
	visible   int64 // bytes of them below the high watermark, about
	waiters   map[*waiter]struct{}
	gone      bool // the topic was deleted
}

// newPartition takes over log. What recovery has kept of it is acknowledged,
// after an fsync if the policy promises one.
func newPartition(ctx context.Context, t *topic, index, epoch int32, log *seglog.Log, fsync bool) (*partition, error) {
	end := log.LogEndOffset()
	if fsync && log.FlushedOffset() < end {
		if err := log.Flush(ctx, end); err != nil {
			return nil, fmt.Errorf("flush recovered log: %w", err)
		}
	}
	if mutant.On(mutant.OffsetReuse) {
		epoch = max(0, log.LatestEpoch())
	}
	return &partition{
		topic: t, index: index, epoch: epoch, log: log, fsync: fsync,
		local: end, hw: end,
		followers: make(map[int32]int64),
		waiters:   make(map[*waiter]struct{}),
	}, nil
}

// append writes one batch and lets the high watermark follow as far as the
// page cache can acknowledge. The batch's base offset and epoch are set in
// place.
func (p *partition) append(batch []byte) (seglog.Appended, error) {
	a, err := p.log.Append(batch, p.epoch, time.Now())
	if err != nil {
		return a, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !a.Duplicate {
		p.appended += int64(len(batch))
		p.topic.metrics.Appended(len(batch), a.LastOffset-a.BaseOffset+1)
	}
	if !p.fsync || mutant.On(mutant.HighWatermarkBeforeFlush) {
		p.local = max(p.local, a.LastOffset+1)
		p.advanceLocked()
	}
	return a, nil
}

// flushIsDue tells whether the flush policy, or the topic's flush.messages, wants
// an fsync before the next acknowledgement.
func (p *partition) flushIsDue() bool {
	return p.fsync || p.log.LogEndOffset()-p.log.FlushedOffset() >= p.topic.config().flushMessages
}

// flush makes all before end acknowledged by the flush policy. It is not to be
// cancelled by a client that goes away: others wait for the high watermark.
func (p *partition) flush(ctx context.Context, end int64) error {
	if !p.flushIsDue() {
		return nil
	}
	if err := p.log.Flush(ctx, end); err != nil || !p.fsync {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.local = max(p.local, p.log.FlushedOffset())
	p.advanceLocked()
	return nil
}

// advanceLocked moves the high watermark to what all have acknowledged, never
// back.
func (p *partition) advanceLocked() {
	hw := p.local
	for _, end := range p.followers {
		hw = min(hw, end)
	}
	if hw <= p.hw {
		return
	}
	p.hw, p.visible = hw, p.appended
	p.wakeLocked()
}

// acknowledge notes that the in-sync follower node has all before end.
func (p *partition) acknowledge(node int32, end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.followers[node] = end
	p.advanceLocked()
}

// replicas are the node ids of the replicas, all in sync, this node first.
func (p *partition) replicas(node int32) []int32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]int32{node}, slices.Sorted(maps.Keys(p.followers))...)
}

// highWatermark is the offset up to which records are acknowledged, exclusive.
func (p *partition) highWatermark() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hw
}

// visibleBytes counts the bytes that became visible in this run: the
// difference between two calls tells a parked fetch how much has come.
func (p *partition) visibleBytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.visible
}

func (p *partition) isGone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

// awaitHW waits until all before end is below the high watermark.
func (p *partition) awaitHW(ctx context.Context, end int64) error {
	if p.highWatermark() >= end {
		return nil
	}
	w := newWaiter()
	p.watch(w)
	defer p.unwatch(w)
	for {
		if p.highWatermark() >= end {
			return nil
		}
		if p.isGone() {
			return seglog.ErrClosed
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return errNotAcknowledged
		}
	}
}

// deleteRecords deletes the records before upTo, at most all that consumers
// can see; -1 stands for that. It returns the new log start offset.
func (p *partition) deleteRecords(upTo int64) (int64, error) {
	hw := p.highWatermark()
	if upTo == -1 {
		upTo = hw
	}
	if upTo < 0 || upTo > hw {
		return -1, fmt.Errorf("delete records before %d, high watermark %d: %w", upTo, hw, seglog.ErrOffsetOutOfRange)
	}
	if start := p.log.LogStartOffset(); upTo <= start {
		return start, nil
	}
	return p.log.DeleteRecords(upTo)
}

// drop tells all who wait that the topic was deleted.
func (p *partition) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	p.wakeLocked()
}
