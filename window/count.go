// SPDX-License-Identifier: Apache-2.0

package window

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/millrace/millrace/serde"
)

// maxCount bounds the records of a count window.
const maxCount = math.MaxInt32

// A CountSpec is a rule of windows of a number of records of a key, in the order of
// their partition, whatever their timestamps. A window begins with every m-th record
// of a key, and is complete with n records, the first included, or when its time is
// over.
//
// It differs from countWindow(n, m) of Flink, which is a GlobalWindows with a
// CountTrigger and a CountEvictor: that one answers at every m-th record with the last
// n, of which there are fewer at first, and these results look like the others; here a
// window is complete or it is not, and OnUpdate shows it grow. Flink's windows have no
// end in time: what a key that falls silent has left stays in the state and is never
// seen; see OrAfter. And Flink keeps n records and goes through them for each result,
// where an aggregator that merges needs n/m panes here.
type CountSpec struct {
	size, every int
	orAfter     time.Duration
	timed       bool
}

// Count is a rule of windows of n records, at least one, that follow each other: a
// record is in one.
func Count(n int) CountSpec { return CountSpec{size: n, every: n} }

// Every is s with a window that begins every m records, at most the size: there is
// then a result every m records, over the last n. A record is in n/m windows.
func (s CountSpec) Every(m int) CountSpec {
	s.every = m
	return s
}

// OrAfter is s with an end in time: a window that is not full when stream time has
// gone on by d since its first record is complete with the records that it has, and
// the next one begins with the next record. Both times are stream time, as it was
// when the record came and as it is now, so a record that is late closes nothing. The
// window closes before the record that brings its time is processed, whatever
// key that has; stream time is part of a commit, so a restart changes nothing. A
// key whose windows are all complete and over is forgotten: without OrAfter a small
// row of each key stays.
func (s CountSpec) OrAfter(d time.Duration) CountSpec {
	s.orAfter, s.timed = d, true
	return s
}

// Size is the number of records of a full window.
func (s CountSpec) Size() int64 { return int64(s.size) }

// Step is the number of records from the begin of a window to that of the next.
func (s CountSpec) Step() int64 { return int64(s.every) }

// OrAfterMs is the time after which a window is complete in any case, in ms; 0: there
// is none.
func (s CountSpec) OrAfterMs() int64 { return s.orAfter.Milliseconds() }

// Pane is the number of records in the largest pieces that all windows can be put
// together from.
func (s CountSpec) Pane() int64 {
	a, b := s.Size(), s.Step()
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// String gives the rule as a program writes it.
func (s CountSpec) String() string {
	text := fmt.Sprintf("window.Count(%d)", s.size)
	if s.every != s.size {
		text += fmt.Sprintf(".Every(%d)", s.every)
	}
	if s.timed {
		text += fmt.Sprintf(".OrAfter(%s)", s.orAfter)
	}
	return text
}

// Check returns what is wrong with the rule.
func (s CountSpec) Check() error {
	errs := []error{
		when(s.size < 1 || s.size > maxCount, "count window of %d records: from 1 to %d are possible", s.size, maxCount),
		when(s.every < 1, "count window every %d records: at least 1 is needed", s.every),
		when(s.every > s.size && s.size > 0, "count window every %d records is more than its size of %d: records would fall between windows", s.every, s.size),
	}
	if s.timed {
		errs = append(errs, wholeMs("time of a count window", s.orAfter, 1))
	}
	return errors.Join(errs...)
}

// A CountKey is a key in a count window.
type CountKey[K any] struct {
	Key K
	// Start is the stream time when the first record of the window came, ms since the
	// Unix epoch.
	Start int64
	// Index is the number of the key's windows before this one, since the key was new
	// or forgotten. Together with Start it tells all windows of a key apart.
	Index int64
}

// CountKeys is the encoding of keys in count windows: the key, then the start and the
// index, 8 bytes each, big endian. (Kafka Streams has no such windows.)
func CountKeys[K any](inner serde.Serde[K]) serde.Serde[CountKey[K]] {
	return serde.Serde[CountKey[K]]{
		Name: fmt.Sprintf("count(%s)", inner.Name),
		Append: func(dst []byte, k CountKey[K]) ([]byte, error) {
			return appendPair(dst, inner, k.Key, k.Start, k.Index)
		},
		Decode: func(src []byte) (CountKey[K], error) {
			k, start, index, err := decodePair(src, inner)
			if err != nil {
				return CountKey[K]{}, err
			}
			if start < 0 || index < 0 {
				return CountKey[K]{}, fmt.Errorf("count window %d from %d is out of range", index, start)
			}
			return CountKey[K]{k, start, index}, nil
		},
	}
}
