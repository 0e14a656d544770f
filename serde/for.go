// SPDX-License-Identifier: Apache-2.0

package serde

import (
	"reflect"
)

// For finds the serde for values of T by its type.
func For[T any]() (Serde[T], error) { return find[T](false) }

// ForKey finds the serde for keys of T by its type.
func ForKey[T any]() (Serde[T], error) { return find[T](true) }

func find[T any](key bool) (Serde[T], error) {
	if s, ok, err := provided[T](key); ok || err != nil {
		return s, err
	}
	if s, ok := exact[T](); ok {
		return s, nil
	}
	return Serde[T]{}, none(reflect.TypeFor[T](), "not known")
}
