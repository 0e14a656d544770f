// SPDX-License-Identifier: Apache-2.0

//go:build failpoint

package failpoint_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/failpoint"
)

// TestHit runs this test as a process of its own, which reaches a place three
// times, and looks how often it says so before it dies.
func TestHit(t *testing.T) {
	if os.Getenv("FAILPOINT_CHILD") != "" {
		for range 3 {
			failpoint.Hit(failpoint.SegmentRoll)
			os.Stdout.WriteString("went on\n")
			failpoint.Hit(failpoint.IndexWrite)
		}
		os.Exit(0)
	}
	for _, tc := range []struct {
		env  string
		want int
	}{
		{"", 3}, {"other", 3}, {"segment-roll", 0}, {"segment-roll:1", 0}, {"segment-roll:3", 2}, {"segment-roll:4", 3}, {"index-write:2", 2},
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestHit$")
		cmd.Env = append(os.Environ(), "FAILPOINT_CHILD=1", "FAILPOINT="+tc.env)
		out, err := cmd.Output()
		if got := strings.Count(string(out), "went on"); got != tc.want || (err == nil) != (tc.want == 3) {
			t.Errorf("FAILPOINT=%q: went on %d times, %v, want %d", tc.env, got, err, tc.want)
		}
	}
}
