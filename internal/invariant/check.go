// SPDX-License-Identifier: Apache-2.0

package invariant

import "fmt"

// Check panics if ok is false: a promise that this code made to itself is
// broken. It is never for input, files or the network.
func Check(ok bool, format string, args ...any) {
	if !ok {
		panic("broken invariant: " + fmt.Sprintf(format, args...))
	}
}
