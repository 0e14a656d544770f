// SPDX-License-Identifier: Apache-2.0

//go:build mutant

package mutant

import "os"

// A Name is one deliberate mistake.
type Name string

// On reports whether the mistake is switched on.
func On(n Name) bool { return os.Getenv("MUTANT") == string(n) }
