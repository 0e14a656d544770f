// SPDX-License-Identifier: Apache-2.0

package serde

import (
	"reflect"
	"unsafe"
)

// A builtin is one of the serdes of this package: erased, so that one table serves
// all types and a program is not compiled a copy of it for each.
type builtin struct {
	t     reflect.Type   // whose serde it is
	serde unsafe.Pointer // to a Serde of that type
}

func builtinOf[U any](s *Serde[U]) builtin {
	return builtin{reflect.TypeFor[U](), unsafe.Pointer(s)}
}

var builtins = []builtin{
	builtinOf(&String), builtinOf(&Bytes), builtinOf(&Bool),
	builtinOf(&Int8), builtinOf(&Int16), builtinOf(&Int32), builtinOf(&Int64), builtinOf(&Int),
	builtinOf(&Uint8), builtinOf(&Uint16), builtinOf(&Uint32), builtinOf(&Uint64), builtinOf(&Uint),
	builtinOf(&Float32), builtinOf(&Float64), builtinOf(&UUID), builtinOf(&Time),
}

// exact returns the built-in serde of t itself: a *Serde[T] of the same T, or nil.
func exact(t reflect.Type) unsafe.Pointer {
	for _, b := range builtins {
		if b.t == t {
			return b.serde
		}
	}
	return nil
}

// byKind returns the built-in serde of the kind of t, for named types, or nil. It
// can be read as a Serde of t: the two types have the same layout in memory, so
// that functions of the one are called in the same way as those of the other. A
// conversion through any would say the same and allocate at each call.
func byKind(t reflect.Type) unsafe.Pointer {
	for _, b := range builtins {
		switch {
		case b.t == uuidType, b.t == timeType: // an array and a struct, no kind of their own
		case b.t.Kind() != t.Kind():
		case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		default:
			return b.serde
		}
	}
	return nil
}
