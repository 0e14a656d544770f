// SPDX-License-Identifier: Apache-2.0

// Package serde turns keys and values into bytes and back.
//
// A [Serde] is two functions and a name. [For] and [ForKey] find one by type,
// so that a program seldom names one; see [For] for the table. A type with
// bytes of its own can bring its serde along, see [Provider].
//
// # Null
//
// Kafka tells a null from an empty key or value, and so does this package: in
// bytes, null is a nil slice and everything else, the empty string included,
// is a slice that is not nil. Append writes only what is not null; the caller
// asks IsNull first and writes a null itself, as [Serde.Encode] does. A serde
// without IsNull has no null: [Serde.Decode] of a nil slice is then [ErrNull].
// Absence is opt.V, or a nil pointer; all other zero values are values.
package serde

import (
	"errors"
	"fmt"
)

// ErrNone is wrapped by the errors of [For] and [ForKey] for a type that has
// no encoding. The text says which type, and why.
var ErrNone = errors.New("no encoding")

// ErrNull is what decoding a null gives for a type that has no null.
var ErrNull = errors.New("null for a type that has none")

// A Serde writes and reads values of T. The zero Serde is not valid. Its
// functions may be called by several goroutines at the same time.
type Serde[T any] struct {
	// Name names the encoding. It is part of a store's fingerprint: it changes
	// when bytes that are already written could no longer be read as they were
	// meant, and only then.
	Name string

	// Append appends the bytes of v to dst, which it may grow, and returns the
	// result. It keeps neither. It is not called with a v that IsNull.
	Append func(dst []byte, v T) ([]byte, error)

	// Decode reads a value from the whole of src. It does not keep src: strings
	// and slices are copied. A nil src is a null, see the package comment.
	// Bytes that are not an encoding of T give an error, never a panic.
	Decode func(src []byte) (T, error)

	// IsNull tells whether v is the null of its type. It is nil for a type that
	// has none.
	IsNull func(v T) bool
}

// Valid tells whether s can be used: it has a name and both its functions.
func (s Serde[T]) Valid() bool {
	return s.Name != "" && s.Append != nil && s.Decode != nil
}

// Nullable tells whether T has a value that stands for null.
func (s Serde[T]) Nullable() bool { return s.IsNull != nil }

// Encode returns the bytes of v in a slice of their own: nil for a null, and
// not nil for everything else.
func (s Serde[T]) Encode(v T) ([]byte, error) {
	if s.IsNull != nil && s.IsNull(v) {
		return nil, nil
	}
	return s.Append([]byte{}, v)
}

// none is an ErrNone for the type named typ.
func none(typ any, format string, args ...any) error {
	return fmt.Errorf("serde: %w for %v: %s", ErrNone, typ, fmt.Sprintf(format, args...))
}

// badLength says that src has another length than every encoding of name.
func badLength(name string, src []byte, want int) error {
	if src == nil {
		return fmt.Errorf("%s: %w", name, ErrNull)
	}
	return fmt.Errorf("%s: length %d, want %d", name, len(src), want)
}
