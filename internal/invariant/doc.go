// SPDX-License-Identifier: Apache-2.0

// Package invariant holds checks that cost too much for a normal build. They
// are on with -tags invariants, as in CI.
package invariant
