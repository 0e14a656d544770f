// SPDX-License-Identifier: Apache-2.0

// Package opt holds a value that may be absent.
//
// Absence in a stream is a [V] and nothing else: a joiner takes one on the side
// that may have no partner, a fold takes one for "no aggregate yet", and a topic
// of V lets null keys or values through. The zero V is absent; the zero value
// of T is a value like any other.
package opt

import "fmt"

// V is a value of T, or none. Make one with [Some] or [None]: an absent V holds
// the zero T, so that two absent ones are equal.
type V[T any] struct {
	Value T    // the zero T if OK is false
	OK    bool // whether there is a value
}

// Some returns a V that holds v.
func Some[T any](v T) V[T] { return V[T]{Value: v, OK: true} }

// None returns a V that holds nothing.
func None[T any]() V[T] { return V[T]{} }

// Get returns the value and whether there is one.
func (o V[T]) Get() (v T, ok bool) { return o.Value, o.OK }

// Or returns the value, or def if there is none.
func (o V[T]) Or(def T) T {
	if o.OK {
		return o.Value
	}
	return def
}

// String returns the value as fmt.Sprint writes it, or "none".
func (o V[T]) String() string {
	if !o.OK {
		return "none"
	}
	return fmt.Sprint(o.Value)
}
