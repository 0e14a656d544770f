// SPDX-License-Identifier: Apache-2.0

//go:build !invariants

// Package invariant holds checks that cost too much for a normal build. They
// are on with -tags invariants, as in CI.
package invariant

// Enabled tells whether the costly checks are compiled in.
const Enabled = false
