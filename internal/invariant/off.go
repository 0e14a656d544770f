// SPDX-License-Identifier: Apache-2.0

//go:build !invariants

package invariant

// Enabled tells whether the costly checks are compiled in.
const Enabled = false
