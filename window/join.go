// SPDX-License-Identifier: Apache-2.0

package window

import (
	"errors"
	"time"
)

// A JoinSpec is a rule of which records of two streams meet: those of the other
// stream that are at most Before earlier than a record and at most After later. It
// follows JoinWindows of Kafka Streams.
type JoinSpec struct {
	before, after, grace time.Duration
}

// Within is a rule of records that are at most d apart, whole milliseconds.
func Within(d time.Duration) JoinSpec { return JoinSpec{before: d, after: d} }

// Before is s with another bound for earlier records of the other stream. One below
// zero says how much later they must be at least.
func (s JoinSpec) Before(d time.Duration) JoinSpec {
	s.before = d
	return s
}

// After is s with another bound for later records of the other stream. One below zero
// says how much earlier they must be at least.
func (s JoinSpec) After(d time.Duration) JoinSpec {
	s.after = d
	return s
}

// Grace is s with a grace period: records are kept that much longer for those that
// come late, and a record without a match is waited for as much longer.
func (s JoinSpec) Grace(grace time.Duration) JoinSpec {
	s.grace = grace
	return s
}

// BeforeMs is the bound for earlier records in ms.
func (s JoinSpec) BeforeMs() int64 { return s.before.Milliseconds() }

// AfterMs is the bound for later records in ms.
func (s JoinSpec) AfterMs() int64 { return s.after.Milliseconds() }

// GraceMs is the grace period in ms.
func (s JoinSpec) GraceMs() int64 { return s.grace.Milliseconds() }

// KeepMs is how long records of a stream are kept for the other's, in ms, by the
// highest timestamp of those that are kept: at least one, so that records of the same
// millisecond meet. Kafka Streams 4.3 keeps none for a rule of 0 ms without grace, and no
// records meet by it.
func (s JoinSpec) KeepMs() int64 { return max(1, s.BeforeMs()+s.AfterMs()+s.GraceMs()) }

// Check returns what is wrong with the rule.
func (s JoinSpec) Check() error {
	return errors.Join(
		wholeMs("join bound before", s.before, minMs),
		wholeMs("join bound after", s.after, minMs),
		wholeMs("grace period", s.grace, 0),
		when(s.before+s.after < 0, "join bounds: %s before and %s after leave no time between them", s.before, s.after),
	)
}

// minMs is a bound that no duration is below.
const minMs = -1 << 62
