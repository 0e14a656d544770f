// SPDX-License-Identifier: Apache-2.0

package serde

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
