// SPDX-License-Identifier: Apache-2.0

package records

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// A start says where a consumer begins.
type start struct {
	kind startKind
	n    int64 // an offset, or records before the end
	at   time.Time
}

type startKind int

const (
	fromBeginning startKind = iota
	fromEnd
	fromOffset
	beforeEnd
	fromTime
)

// parseStart reads --offset.
func parseStart(s string, now time.Time) (start, error) {
	switch s {
	case "beginning", "earliest":
		return start{kind: fromBeginning}, nil
	case "end", "latest":
		return start{kind: fromEnd}, nil
	}
	if when, ok := strings.CutPrefix(s, "@"); ok {
		at, err := cli.ParseTime(when, now)
		return start{kind: fromTime, at: at}, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil:
		return start{}, cli.Usagef("--offset %q: want beginning, end, an offset, -N for the last N, or @time", s)
	case n < 0:
		return start{kind: beforeEnd, n: -n}, nil
	default:
		return start{kind: fromOffset, n: n}, nil
	}
}

// reset is the start as a group has it for partitions without a committed offset.
func (s start) reset() kgo.Offset {
	switch s.kind {
	case fromEnd:
		return kgo.NewOffset().AtEnd()
	case fromOffset:
		return kgo.NewOffset().At(s.n)
	case beforeEnd:
		return kgo.NewOffset().AtEnd().Relative(-s.n)
	case fromTime:
		return kgo.NewOffset().AfterMilli(s.at.UnixMilli())
	default:
		return kgo.NewOffset().AtStart()
	}
}

// A span is what of a partition is to be read: from is in it, to is not.
type span struct{ from, to int64 }

type topicPartition struct {
	topic     string
	partition int32
}

// spans finds where the partitions of topics begin, by s, and where they end now.
// Offsets are kept within what the log has. Partitions, if any are named, are
// those read of each topic.
func (s start) spans(ctx context.Context, adm *kadm.Client, topics []string, partitions []int32, committed bool) (map[topicPartition]span, error) {
	starts, err := adm.ListStartOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("start offsets: %w", err)
	}
	if err := starts.Error(); err != nil {
		return nil, fmt.Errorf("start offsets: %w", err)
	}
	list := adm.ListEndOffsets
	if committed {
		list = adm.ListCommittedOffsets
	}
	ends, err := list(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("end offsets: %w", err)
	}
	var times kadm.ListedOffsets
	if s.kind == fromTime {
		if times, err = adm.ListOffsetsAfterMilli(ctx, s.at.UnixMilli(), topics...); err != nil {
			return nil, fmt.Errorf("offsets by time: %w", err)
		}
	}
	all := make(map[topicPartition]span)
	for _, from := range starts.Offsets().Sorted() {
		if len(partitions) > 0 && !slices.Contains(partitions, from.Partition) {
			continue
		}
		end, ok := ends.Lookup(from.Topic, from.Partition)
		if !ok || end.Err != nil {
			return nil, fmt.Errorf("end offset of %s:%d: %w", from.Topic, from.Partition, end.Err)
		}
		after, _ := times.Lookup(from.Topic, from.Partition)
		at := s.resolve(from.At, end.Offset, after.Offset)
		all[topicPartition{from.Topic, from.Partition}] = span{at, end.Offset}
	}
	for _, t := range topics {
		for _, p := range partitions {
			if _, ok := all[topicPartition{t, p}]; !ok {
				return nil, fmt.Errorf("topic %s has no partition %d", t, p)
			}
		}
	}
	return all, nil
}

// resolve is where a log of [first, end) is begun. after is the first offset of
// the time asked for, -1 if there is none.
func (s start) resolve(first, end, after int64) int64 {
	at := first
	switch s.kind {
	case fromBeginning:
	case fromEnd:
		at = end
	case fromOffset:
		at = s.n
	case beforeEnd:
		at = end - s.n
	case fromTime:
		if at = after; at < 0 {
			at = end
		}
	}
	return min(max(at, first), end)
}
