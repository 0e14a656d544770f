// SPDX-License-Identifier: Apache-2.0

package serde

import (
	"reflect"
	"unsafe"
)

// exact returns the built-in serde of T itself.
func exact[T any]() (Serde[T], bool) {
	for _, s := range []any{
		String, Bytes, Bool,
		Int8, Int16, Int32, Int64, Int,
		Uint8, Uint16, Uint32, Uint64, Uint,
		Float32, Float64, UUID, Time,
	} {
		if s, ok := s.(Serde[T]); ok {
			return s, true
		}
	}
	return Serde[T]{}, false
}

// byKind returns the built-in serde of the kind of T, for named types.
func byKind[T any](t reflect.Type) (Serde[T], bool) {
	switch t.Kind() {
	case reflect.String:
		return cast[T](String), true
	case reflect.Bool:
		return cast[T](Bool), true
	case reflect.Int8:
		return cast[T](Int8), true
	case reflect.Int16:
		return cast[T](Int16), true
	case reflect.Int32:
		return cast[T](Int32), true
	case reflect.Int64:
		return cast[T](Int64), true
	case reflect.Int:
		return cast[T](Int), true
	case reflect.Uint8:
		return cast[T](Uint8), true
	case reflect.Uint16:
		return cast[T](Uint16), true
	case reflect.Uint32:
		return cast[T](Uint32), true
	case reflect.Uint64:
		return cast[T](Uint64), true
	case reflect.Uint:
		return cast[T](Uint), true
	case reflect.Float32:
		return cast[T](Float32), true
	case reflect.Float64:
		return cast[T](Float64), true
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return cast[T](Bytes), true
		}
	}
	return Serde[T]{}, false
}

// cast returns s for a T of the same kind as U: the two have the same layout in
// memory, so that a variable of the one can be read as the other. A conversion
// through any would say the same and allocate.
func cast[T, U any](s Serde[U]) Serde[T] {
	return Serde[T]{
		Name:   s.Name,
		Append: func(dst []byte, v T) ([]byte, error) { return s.Append(dst, *(*U)(unsafe.Pointer(&v))) },
		Decode: func(src []byte) (T, error) {
			v, err := s.Decode(src)
			return *(*T)(unsafe.Pointer(&v)), err
		},
	}
}
