// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

// drop does nothing: the benchmarks measure on Linux.
func drop(string) error { return nil }
