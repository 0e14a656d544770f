// SPDX-License-Identifier: Apache-2.0

package serde

import (
	"fmt"
	"reflect"
)

// A Provider brings its own serde: [For] calls Serde on the zero value of T and
// uses the result, which must be a Serde[T]. It is how generic types are done,
// whose serde is made of those of their type parameters; opt.V is one.
type Provider interface {
	// Serde returns a Serde of the type that has the method.
	Serde() (any, error)
}

// A KeyProvider does for [ForKey] what a [Provider] does for [For]. The serde
// must write equal keys as equal bytes. A type that is a Provider alone cannot
// be a key by it.
type KeyProvider interface {
	// KeySerde returns a Serde of the type that has the method.
	KeySerde() (any, error)
}

// provided returns the serde that T brings along; ok is false if it has none.
func provided[T any](key bool) (s Serde[T], ok bool, err error) {
	call := func() (any, error) { return nil, nil }
	switch p := receiver[T]().(type) {
	case KeyProvider:
		if !key {
			if pv, isValue := p.(Provider); isValue {
				call, ok = pv.Serde, true
			}
			break
		}
		call, ok = p.KeySerde, true
	case Provider:
		if key {
			return s, false, none(reflect.TypeFor[T](), "it has a method Serde, but none named KeySerde")
		}
		call, ok = p.Serde, true
	}
	if !ok {
		return s, false, nil
	}
	got, err := call()
	if err != nil {
		return s, true, fmt.Errorf("serde: %v: %w", reflect.TypeFor[T](), err)
	}
	s, right := got.(Serde[T])
	if !right || !s.Valid() {
		return Serde[T]{}, true, none(reflect.TypeFor[T](), "its method returns %T, want a valid %T", got, s)
	}
	return s, true, nil
}

// receiver returns a value with all methods that a value of T can be called
// with: a pointer to a zero T, or for a pointer type T a pointer to a zero
// value of what it points to.
func receiver[T any]() any {
	if t := reflect.TypeFor[T](); t.Kind() == reflect.Pointer {
		return reflect.New(t.Elem()).Interface()
	}
	return any(new(T))
}
