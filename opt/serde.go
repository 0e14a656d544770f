// SPDX-License-Identifier: Apache-2.0

package opt

import (
	"fmt"

	"github.com/millrace/millrace/serde"
)

// Serde gives a V the bytes of the T in it by s, and null for an absent one. It
// has the name of s, since what it writes can be read by either.
// The T of s must have no null of its own, or the two could not be told apart:
// the result is then not valid.
func Serde[T any](s serde.Serde[T]) serde.Serde[V[T]] {
	if !s.Valid() || s.Nullable() {
		return serde.Serde[V[T]]{}
	}
	return serde.Serde[V[T]]{
		Name:   s.Name,
		IsNull: func(o V[T]) bool { return !o.OK },
		Append: func(dst []byte, o V[T]) ([]byte, error) { return s.Append(dst, o.Value) },
		Decode: func(src []byte) (V[T], error) {
			if src == nil {
				return V[T]{}, nil
			}
			v, err := s.Decode(src)
			return V[T]{Value: v, OK: err == nil}, err
		},
	}
}

// Serde returns the serde.Serde[V[T]] that serde.For finds for a V: that of its
// T, with null for an absent one.
func (V[T]) Serde() (any, error) { return lift(serde.For[T]()) }

// KeySerde is Serde for serde.ForKey.
func (V[T]) KeySerde() (any, error) { return lift(serde.ForKey[T]()) }

func lift[T any](s serde.Serde[T], err error) (any, error) {
	if err != nil {
		return nil, err
	}
	if s.Nullable() {
		return nil, fmt.Errorf("%w for %T: %s has a null of its own", serde.ErrNone, V[T]{}, s.Name)
	}
	return Serde(s), nil
}
