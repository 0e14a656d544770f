// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/state"
)

// A checker decides whether a base can be built on.
type checker struct {
	cluster link.Cluster
	now     time.Time
}

// misfit compares what a base says about itself with what it should be: whose data
// it holds, and whether its place in the changelog is still one. It returns why the
// base must be rebuilt, "" if it is good. A base that merely lags is good: a crash
// leaves one behind.
func (c checker) misfit(ctx context.Context, have, want state.Header, log link.Range) (string, error) {
	if cause := have.Differs(want); cause != "" {
		return cause, nil
	}
	if have.Position < log.Start || have.Position > log.End {
		return fmt.Sprintf("its position %d is outside of the changelog, which has offsets %d to %d",
			have.Position, log.Start, log.End), nil
	}
	if have.Position == 0 {
		return "", nil // nothing of the log is in it
	}
	if cause, err := c.diverged(ctx, have); cause != "" || err != nil {
		return cause, err
	}
	if have.Position == log.End {
		return "", nil // nothing is missing: its age does not matter
	}
	return c.tooOld(ctx, have)
}

// diverged finds a log that was cut and has grown again with other records: the
// epoch of the last applied record ends before it.
func (c checker) diverged(ctx context.Context, have state.Header) (string, error) {
	if have.LeaderEpoch == state.NoEpoch {
		return "", nil
	}
	end, err := c.cluster.EpochEnd(ctx, link.Partition{Topic: have.Changelog, Num: have.Partition}, have.LeaderEpoch)
	if err != nil {
		return "", err
	}
	if end.Offset < 0 || end.Offset >= have.Position {
		return "", nil // the broker does not know, or agrees
	}
	return fmt.Sprintf("the changelog was cut: leader epoch %d ends at offset %d, and the base is at %d",
		have.LeaderEpoch, end.Offset, have.Position), nil
}

// tooOld finds a base that has missed tombstones: compaction keeps them only for
// delete.retention.ms.
func (c checker) tooOld(ctx context.Context, have state.Header) (string, error) {
	if have.AppliedAt == 0 {
		return "", nil
	}
	const key = "delete.retention.ms"
	v, err := c.cluster.TopicConfig(ctx, have.Changelog, key)
	if err != nil {
		return "", err
	}
	retention := int64(24 * time.Hour / time.Millisecond)
	if ms, err := strconv.ParseInt(v, 10, 64); err == nil {
		retention = ms
	}
	if age := c.now.UnixMilli() - have.AppliedAt; age > retention {
		return fmt.Sprintf("its last change is %s old, and the changelog keeps tombstones for %s",
			time.Duration(age)*time.Millisecond, time.Duration(retention)*time.Millisecond), nil
	}
	return "", nil
}
