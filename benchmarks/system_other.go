// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import (
	"errors"
	"time"
)

// processorTime is known on Linux only.
func processorTime(int) (time.Duration, error) {
	return 0, errors.New("measure: Linux is needed")
}

// drop does nothing: the benchmarks measure on Linux.
func drop(string) error { return nil }
