// SPDX-License-Identifier: Apache-2.0

package testdriver

import "fmt"

// Panics is a TB for where there is no test, as in an example: it panics where a
// test would fail.
//
//	var tb testdriver.Panics
//	defer tb.Done()
//	d := testdriver.New(&tb, topology)
type Panics struct{ cleanups []func() }

// Helper does nothing.
func (p *Panics) Helper() {}

// Fatalf panics.
func (p *Panics) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// Cleanup notes f for Done.
func (p *Panics) Cleanup(f func()) { p.cleanups = append(p.cleanups, f) }

// Done runs what was noted, the last first.
func (p *Panics) Done() {
	for len(p.cleanups) > 0 {
		f := p.cleanups[len(p.cleanups)-1]
		p.cleanups = p.cleanups[:len(p.cleanups)-1]
		f()
	}
}
