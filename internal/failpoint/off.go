// SPDX-License-Identifier: Apache-2.0

//go:build !failpoint

// Package failpoint holds the places where a test may kill the process as kill
// -9 would. In a normal build a place is nothing and the compiler removes it; built
// with -tags failpoint, the environment variable FAILPOINT names the one that kills,
// "name" at its first hit and "name:n" at its nth.
package failpoint

// Enabled tells whether places can kill in this build.
const Enabled = false

// A Name is one place.
type Name string

// Hit tells that the place was reached.
func Hit(Name) {}
