// SPDX-License-Identifier: Apache-2.0

//go:build failpoint

package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

// Enabled tells whether places can kill in this build.
const Enabled = true

// A Name is one place.
type Name string

var hits atomic.Int64 // of the place that FAILPOINT names

// Hit kills the process if FAILPOINT names the place and this is the hit that it
// waits for.
func Hit(n Name) {
	name, nth, _ := strings.Cut(os.Getenv("FAILPOINT"), ":")
	if name != string(n) {
		return
	}
	want, err := strconv.ParseInt(nth, 10, 64)
	if err != nil {
		want = 1
	}
	if hits.Add(1) != want {
		return
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		os.Exit(137) // as the shell tells of a kill; files are not flushed either way
	}
	select {} // the signal is on its way
}
