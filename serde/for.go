// SPDX-License-Identifier: Apache-2.0

package serde

import "reflect"

// For finds the serde for values of T by its type. The first line that fits
// holds:
//
//	a Provider                        what it brings along
//	string, []byte, bool, numbers,    the serde of that name here; int is Int64
//	uuid.UUID, time.Time
//	a protobuf message (a pointer)    protobuf; a nil pointer is null
//	encoding.BinaryMarshaler or       its own bytes; a nil pointer is null
//	BinaryAppender, with
//	BinaryUnmarshaler, also on *T
//	a type of one of those kinds,     as the kind
//	such as type UserID string
//	struct, array, slice, map         MessagePack
//	a pointer to a struct             as the struct; nil is null
//
// MessagePack writes a struct as a map with the names of its exported fields,
// or those in their `msgpack` tags: fields can be added later, and are zero in
// what was written before. Equal values have equal bytes, maps included. A
// time.Time inside a struct keeps its instant and comes back in time.Local. A
// number that no longer fits a field that was made smaller is cut off without
// an error. Values must be trees: a cycle of pointers does not end.
//
// A channel, a function, an interface, a complex number or a uintptr has no
// encoding, also deep inside T, and so has a type that the encoding would lose
// part of without a word: a struct that only unexported fields fill, or one
// that has its marshalling from an embedded field and others besides. The error
// wraps [ErrNone] and names the place.
func For[T any]() (Serde[T], error) { return find[T](false) }

// ForKey finds the serde for keys of T by its type. The engine knows a key by
// its bytes, so that only canonical encodings will do, where equal keys have
// equal bytes. It is as [For], with these differences:
//
//   - A [KeyProvider] takes the place of a Provider.
//   - A struct or array is a MessagePack array of its fields in their order,
//     without names: a field more is another encoding, with another Name. It may
//     hold what Go can compare by value: strings, booleans, integers, arrays,
//     structs, time.Time and types that marshal themselves. All fields must be
//     exported. What is not in the one form that Append writes is an error to
//     Decode.
//   - Floats have no canonical encoding (-0, NaN), nor have maps, slices other
//     than []byte, pointers and protobuf messages.
//   - A type that marshals itself has to be canonical on its own word.
//
// Where a refused type is wanted all the same, a topic takes any serde by its
// method Keys.
func ForKey[T any]() (Serde[T], error) { return find[T](true) }

func find[T any](key bool) (Serde[T], error) {
	if s, ok, err := provided[T](key); ok || err != nil {
		return s, err
	}
	t := reflect.TypeFor[T]()
	if key {
		if err := keyKind(t); err != nil {
			return Serde[T]{}, err
		}
	}
	if s := exact(t); s != nil {
		return *(*Serde[T])(s), nil
	}
	if err := pointerKind(t); err != nil {
		return Serde[T]{}, err
	}
	if s, ok, err := protobuf[T](t, key); ok || err != nil {
		return s, err
	}
	if s, ok, err := binaryOwn[T](t); ok || err != nil {
		return s, err
	}
	if s := byKind(t); s != nil {
		return *(*Serde[T])(s), nil
	}
	return packed[T](t, key)
}

// keyKind refuses what cannot be a key, whatever it holds and marshals.
func keyKind(t reflect.Type) error {
	switch t.Kind() {
	case reflect.Float32, reflect.Float64:
		return none(t, "a float is not canonical as a key")
	case reflect.Map:
		return none(t, "a map is not canonical as a key")
	}
	return nil
}

// pointerKind refuses a pointer to what a serde here writes by its kind: opt.V
// says the same, and says it.
func pointerKind(t reflect.Type) error {
	if t.Kind() != reflect.Pointer {
		return nil
	}
	e := t.Elem()
	if e == timeType || e == uuidType {
		return none(t, "a value that can be absent is an opt.V[%v]", e)
	}
	return nil
}
