// SPDX-License-Identifier: Apache-2.0

package statetest

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/state"
)

// lists compares the rows of one key, which may come from memory, with the model.
func (s *timedRun) lists(t *testing.T) {
	t.Helper()
	a := s.args()
	key := s.row().Key
	a.first, a.last, a.order = opt.Some(key), opt.Some(key), state.Forward
	rows, err := s.s.list(key, a.from, a.to)
	must(t, err)
	var got []scanned
	for _, r := range rows {
		at := row{Key: key, Time: r.Start}
		if s.kind.session {
			at = row{Key: key, Time: r.End, Start: r.Start}
		}
		got = append(got, scanned{at, stamped[string]{r.Value, r.Timestamp}})
	}
	if diff := cmp.Diff(s.wanted(s.now, a), got); diff != "" {
		t.Fatalf("list %+v at %d (-want +got):\n%s", a, s.now.observed, diff)
	}
}

// unwritten tells whether the removal of a row that was put and removed between two
// seals is not in what was sealed. A store may leave it out.
func (s *timedRun) unwritten(r row, got []state.Change) bool {
	_, is := s.now.rows[r]
	_, was := s.before.rows[r]
	if is || was || !s.kind.duplicates && !s.kind.session {
		return false
	}
	key := s.kind.record(r)
	return !slices.ContainsFunc(got, func(c state.Change) bool { return bytes.Equal(c.Key, key) })
}
