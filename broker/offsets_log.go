// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace/millrace/broker/internal/group"
	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/failpoint"
)

// offsetsLog is __consumer_offsets as the group coordinator sees it.
type offsetsLog struct{ topic *topic }

var _ group.OffsetsLog = (*offsetsLog)(nil)

// Append writes recs as one batch and waits for the high watermark.
func (l *offsetsLog) Append(ctx context.Context, p int32, recs []group.Record) error {
	part := l.topic.partition(p)
	if part == nil {
		return fmt.Errorf("%s-%d: %w", offsetsTopic, p, errUnknownTopic)
	}
	now := time.Now().UnixMilli()
	batch := make([]seglog.Record, len(recs))
	for i, r := range recs {
		batch[i] = seglog.Record{Timestamp: now, Key: r.Key, Value: r.Value}
	}
	a, err := part.append(seglog.BuildBatch(batch))
	if err != nil {
		return fmt.Errorf("append to %s-%d: %w", offsetsTopic, p, err)
	}
	failpoint.Hit(failpoint.OffsetsCommit)
	// An append is not undone because its client has left.
	if err := part.flush(context.WithoutCancel(ctx), a.LastOffset+1); err != nil {
		return fmt.Errorf("flush %s-%d: %w", offsetsTopic, p, err)
	}
	return part.awaitHW(ctx, a.LastOffset+1)
}

// replayBytes is how much of the log Replay holds at a time.
const replayBytes = 1 << 20

// Replay reads the whole partition.
func (l *offsetsLog) Replay(ctx context.Context, p int32, fn func(key, value []byte, timestamp int64) error) error {
	part := l.topic.partition(p)
	if part == nil {
		return fmt.Errorf("%s-%d: %w", offsetsTopic, p, errUnknownTopic)
	}
	log := part.log
	end := log.LogEndOffset()
	for at := log.LogStartOffset(); at < end; {
		r, err := log.Read(at, replayBytes, end, true)
		if err != nil {
			return fmt.Errorf("read %s-%d at %d: %w", offsetsTopic, p, at, err)
		}
		if r.NextOffset <= at { // it goes on behind what a compaction took
			return fmt.Errorf("read %s-%d at %d: nothing before %d", offsetsTopic, p, at, end)
		}
		if err := eachRecord(r.Data, fn); err != nil {
			return fmt.Errorf("replay %s-%d from %d: %w", offsetsTopic, p, at, err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		at = r.NextOffset
	}
	return part.awaitHW(ctx, end) // nobody is told what may yet be lost
}

// eachRecord calls fn for the records of whole batches.
func eachRecord(data []byte, fn func(key, value []byte, timestamp int64) error) error {
	for len(data) > 0 {
		h, err := seglog.ParseHeader(data)
		if err != nil {
			return err
		}
		if h.Length > len(data) {
			return seglog.ErrCorruptBatch
		}
		if !h.Control() {
			err = seglog.EachRecord(data[:h.Length], func(r seglog.Record) error { return fn(r.Key, r.Value, r.Timestamp) })
			if err != nil {
				return err
			}
		}
		data = data[h.Length:]
	}
	return nil
}
