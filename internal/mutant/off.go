// SPDX-License-Identifier: Apache-2.0

//go:build !mutant

// Package mutant holds the switches of deliberate mistakes that prove our
// tests. In a normal build every switch is the constant false and the compiler
// removes the mistake; built with -tags mutant, the environment variable MUTANT
// names the one that is on, and named tests must then fail.
package mutant

// A Name is one deliberate mistake.
type Name string

// On reports whether the mistake is switched on.
func On(Name) bool { return false }
