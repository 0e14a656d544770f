// SPDX-License-Identifier: Apache-2.0

package window

import (
	"errors"
	"fmt"
	"time"
)

// A TimeSpec is a rule of windows of a fixed size, aligned to the epoch. It
// follows TimeWindows of Kafka Streams.
type TimeSpec struct {
	size, advance, grace time.Duration
}

// Tumbling is a rule of windows that follow each other without a gap: a record is
// in one. The size is whole milliseconds, at least one.
func Tumbling(size time.Duration) TimeSpec { return TimeSpec{size: size, advance: size} }

// Hopping is a rule of windows of the given size that begin every advance, which
// is at most size: a record is in size/advance of them.
func Hopping(size, advance time.Duration) TimeSpec { return TimeSpec{size: size, advance: advance} }

// Grace is s with a grace period: a window closes when stream time reaches its end
// plus grace, and takes late records until then. Without it, at its end.
func (s TimeSpec) Grace(grace time.Duration) TimeSpec {
	s.grace = grace
	return s
}

// Size is the size of the windows.
func (s TimeSpec) Size() time.Duration { return s.size }

// SizeMs is the size in ms.
func (s TimeSpec) SizeMs() int64 { return s.size.Milliseconds() }

// AdvanceMs is the distance of the windows' starts in ms.
func (s TimeSpec) AdvanceMs() int64 { return s.advance.Milliseconds() }

// GraceMs is the grace period in ms.
func (s TimeSpec) GraceMs() int64 { return s.grace.Milliseconds() }

// Check returns what is wrong with the rule.
func (s TimeSpec) Check() error {
	return errors.Join(
		wholeMs("window size", s.size, 1),
		wholeMs("window advance", s.advance, 1),
		wholeMs("grace period", s.grace, 0),
		when(s.advance > s.size, "window advance %s is longer than the size %s: records would fall between windows", s.advance, s.size),
	)
}

// Starts gives the start of the first window that holds timestamp, which is not
// negative, and that of the last; between them there is one every AdvanceMs.
// A window never starts before the epoch.
func (s TimeSpec) Starts(timestamp int64) (first, last int64) {
	advance := s.AdvanceMs()
	first = max(0, timestamp-s.SizeMs()+advance) / advance * advance
	return first, timestamp / advance * advance
}

func wholeMs(what string, d time.Duration, least int64) error {
	return errors.Join(
		when(d%time.Millisecond != 0, "%s %s is not a whole number of milliseconds", what, d),
		when(d.Milliseconds() < least, "%s %s is less than %d ms", what, d, least),
	)
}

func when(wrong bool, format string, args ...any) error {
	if !wrong {
		return nil
	}
	return fmt.Errorf(format, args...)
}
