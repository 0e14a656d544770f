// SPDX-License-Identifier: Apache-2.0

package records

import (
	"testing"
	"time"
)

func TestStart(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	for _, c := range []struct {
		in    string
		after int64 // first offset of the time asked for
		want  int64 // in a log of 10 to 20
	}{
		{"beginning", -1, 10},
		{"earliest", -1, 10},
		{"end", -1, 20},
		{"latest", -1, 20},
		{"12", -1, 12},
		{"0", -1, 10},
		{"99", -1, 20},
		{"-3", -1, 17},
		{"-300", -1, 10},
		{"@1970-01-01T00:00:00Z", 15, 15},
		{"@-5m", 15, 15},
		{"@123", -1, 20}, // nothing is that late
	} {
		s, err := parseStart(c.in, now)
		if err != nil {
			t.Errorf("%q: %v", c.in, err)
			continue
		}
		if got := s.resolve(10, 20, c.after); got != c.want {
			t.Errorf("%q begins at %d, want %d", c.in, got, c.want)
		}
	}
	if s, _ := parseStart("@-5m", now); !s.at.Equal(now.Add(-5 * time.Minute)) {
		t.Errorf("@-5m is %v", s.at)
	}
	for _, bad := range []string{"", "middle", "@", "@soon", "1.5"} {
		if _, err := parseStart(bad, now); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
