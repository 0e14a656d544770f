// SPDX-License-Identifier: Apache-2.0

package window

import (
	"errors"
	"fmt"
	"time"
)

// A TimeSpec is a rule of windows of a fixed size: aligned to the epoch, as
// TimeWindows of Kafka Streams are, or to the records, as its SlidingWindows are.
type TimeSpec struct {
	size, advance, grace time.Duration
	sliding              bool
}

// Tumbling is a rule of windows that follow each other without a gap: a record is
// in one. The size is whole milliseconds, at least one.
func Tumbling(size time.Duration) TimeSpec { return TimeSpec{size: size, advance: size} }

// Hopping is a rule of windows of the given size that begin every advance, which
// is at most size: a record is in size/advance of them.
func Hopping(size, advance time.Duration) TimeSpec { return TimeSpec{size: size, advance: advance} }

// Sliding is a rule of windows that begin and end with records: each holds the
// records of a key that are at most difference apart, so that there is one for every
// set of such records. Both its bounds, which difference lies between, are in a
// window; it closes when stream time has passed its end plus grace. The difference is
// whole milliseconds, and may be none. Records with a null value are dropped. It
// follows SlidingWindows of Kafka Streams (KIP-450).
func Sliding(difference time.Duration) TimeSpec {
	return TimeSpec{size: difference, advance: time.Millisecond, sliding: true}
}

// Grace is s with a grace period: a window closes when stream time reaches its end
// plus grace, and takes late records until then. Without it, at its end.
func (s TimeSpec) Grace(grace time.Duration) TimeSpec {
	s.grace = grace
	return s
}

// IsSliding tells whether windows begin and end with records.
func (s TimeSpec) IsSliding() bool { return s.sliding }

// Size is the size of the windows: what their ends are after their starts. Of sliding
// windows it is the difference.
func (s TimeSpec) Size() time.Duration { return s.size }

// SizeMs is the size in ms.
func (s TimeSpec) SizeMs() int64 { return s.size.Milliseconds() }

// LengthMs is how many ms a window holds: SizeMs, and one more for a sliding one,
// whose end is in it.
func (s TimeSpec) LengthMs() int64 {
	if s.sliding {
		return s.SizeMs() + 1
	}
	return s.SizeMs()
}

// RetentionMs is how long after its start a window's row is looked at, by stream time.
func (s TimeSpec) RetentionMs() int64 {
	if s.sliding {
		return 2*s.SizeMs() + s.GraceMs()
	}
	return s.SizeMs() + s.GraceMs()
}

// AdvanceMs is the distance of the windows' starts in ms.
func (s TimeSpec) AdvanceMs() int64 { return s.advance.Milliseconds() }

// GraceMs is the grace period in ms.
func (s TimeSpec) GraceMs() int64 { return s.grace.Milliseconds() }

// Check returns what is wrong with the rule.
func (s TimeSpec) Check() error {
	if s.sliding {
		return errors.Join(wholeMs("time difference", s.size, 0), wholeMs("grace period", s.grace, 0))
	}
	return errors.Join(
		wholeMs("window size", s.size, 1),
		wholeMs("window advance", s.advance, 1),
		wholeMs("grace period", s.grace, 0),
		when(s.advance > s.size, "window advance %s is longer than the size %s: records would fall between windows", s.advance, s.size),
	)
}

// Starts gives, for windows that do not slide, the start of the first window that
// holds timestamp, which is not negative, and that of the last; between them there is one every AdvanceMs.
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
