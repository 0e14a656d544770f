// SPDX-License-Identifier: Apache-2.0

package window

import (
	"errors"
	"time"
)

// A SessionSpec is a rule of windows that grow with activity: records of a key
// that are at most the gap apart are in one session. It follows SessionWindows of
// Kafka Streams.
type SessionSpec struct {
	gap, grace time.Duration
}

// Session is a rule of sessions that end after an inactivity longer than gap,
// whole milliseconds.
func Session(gap time.Duration) SessionSpec { return SessionSpec{gap: gap} }

// Grace is s with a grace period: a session closes when stream time passes its last
// record by gap plus grace.
func (s SessionSpec) Grace(grace time.Duration) SessionSpec {
	s.grace = grace
	return s
}

// GapMs is the inactivity gap in ms.
func (s SessionSpec) GapMs() int64 { return s.gap.Milliseconds() }

// GraceMs is the grace period in ms.
func (s SessionSpec) GraceMs() int64 { return s.grace.Milliseconds() }

// Check returns what is wrong with the rule.
func (s SessionSpec) Check() error {
	return errors.Join(wholeMs("session gap", s.gap, 0), wholeMs("grace period", s.grace, 0))
}
