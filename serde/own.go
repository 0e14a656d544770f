// SPDX-License-Identifier: Apache-2.0

package serde

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"unsafe"
)

var (
	appenderType    = reflect.TypeFor[encoding.BinaryAppender]()
	marshalerType   = reflect.TypeFor[encoding.BinaryMarshaler]()
	unmarshalerType = reflect.TypeFor[encoding.BinaryUnmarshaler]()
)

// binaryOwn returns the serde of a T that marshals itself by the interfaces of
// package encoding, with methods on T or on *T.
func binaryOwn[T any](t reflect.Type) (s Serde[T], ok bool, err error) {
	holder := t // the type with the methods of both receivers: always a pointer
	if t.Kind() != reflect.Pointer {
		holder = reflect.PointerTo(t)
	}
	appends := holder.Implements(appenderType)
	if t.Kind() == reflect.Interface || !appends && !holder.Implements(marshalerType) {
		return s, false, nil
	}
	if !holder.Implements(unmarshalerType) {
		return s, false, none(t, "it has MarshalBinary or AppendBinary, but no UnmarshalBinary")
	}
	promoted := promotedMarshalBinary
	if appends {
		promoted = promotedAppendBinary
	}
	if err := whole(holder.Elem(), promoted); err != nil {
		return s, false, none(t, "%v", err)
	}
	o := own{name: "binary(" + pointee(t).String() + ")", appends: appends}
	if t.Kind() == reflect.Pointer {
		return ownPointer[T](t, o), true, nil
	}
	return ownValue[T](o), true, nil
}

func ownValue[T any](o own) Serde[T] {
	return Serde[T]{
		Name:   o.name,
		Append: func(dst []byte, v T) ([]byte, error) { return o.append(dst, any(&v)) },
		Decode: func(src []byte) (v T, err error) {
			if src == nil {
				return v, fmt.Errorf("%s: %w", o.name, ErrNull)
			}
			err = o.decode(src, any(&v))
			return v, err
		},
	}
}

func ownPointer[T any](t reflect.Type, o own) Serde[T] {
	return Serde[T]{
		Name:   o.name,
		IsNull: isNilPointer[T],
		Append: func(dst []byte, v T) ([]byte, error) { return o.append(dst, any(v)) },
		Decode: func(src []byte) (v T, err error) {
			if src == nil {
				return v, nil
			}
			p := reflect.New(t.Elem())
			if err := o.decode(src, p.Interface()); err != nil {
				return v, err
			}
			return p.Interface().(T), nil
		},
	}
}

// own calls the methods of a type that marshals itself.
type own struct {
	name    string
	appends bool // it has AppendBinary
}

func (o own) append(dst []byte, p any) ([]byte, error) {
	if o.appends {
		b, err := p.(encoding.BinaryAppender).AppendBinary(dst)
		if err != nil {
			return dst, fmt.Errorf("%s: %w", o.name, err)
		}
		return b, nil
	}
	b, err := p.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return dst, fmt.Errorf("%s: %w", o.name, err)
	}
	return append(dst, b...), nil
}

func (o own) decode(src []byte, p any) error {
	if err := p.(encoding.BinaryUnmarshaler).UnmarshalBinary(src); err != nil {
		return fmt.Errorf("%s: %w", o.name, err)
	}
	return nil
}

// pointee returns what t points to, or t itself.
func pointee(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// isNilPointer tells whether v, of a pointer type, is nil.
func isNilPointer[T any](v T) bool { return *(*unsafe.Pointer)(unsafe.Pointer(&v)) == nil }

// whole refuses a struct that has its marshalling from an embedded field, which
// knows nothing of the other fields: they would be lost without a word.
func whole(t reflect.Type, promoted func(reflect.Type) bool) error {
	if t.Kind() == reflect.Struct && t.NumField() > 1 && promoted(t) {
		return errors.New("it is marshalled by a field embedded in it, without its other fields: give it methods of its own")
	}
	return nil
}

// The names below are constants on purpose: a MethodByName of any other name
// makes the linker keep every method of the program.

func promotedAppendBinary(t reflect.Type) bool {
	v, onValue := t.MethodByName("AppendBinary")
	p, _ := reflect.PointerTo(t).MethodByName("AppendBinary")
	return isPromoted(v, onValue, p)
}

func promotedMarshalBinary(t reflect.Type) bool {
	v, onValue := t.MethodByName("MarshalBinary")
	p, _ := reflect.PointerTo(t).MethodByName("MarshalBinary")
	return isPromoted(v, onValue, p)
}

func promotedMarshalText(t reflect.Type) bool {
	v, onValue := t.MethodByName("MarshalText")
	p, _ := reflect.PointerTo(t).MethodByName("MarshalText")
	return isPromoted(v, onValue, p)
}

func promotedEncodeMsgpack(t reflect.Type) bool {
	v, onValue := t.MethodByName("EncodeMsgpack")
	p, _ := reflect.PointerTo(t).MethodByName("EncodeMsgpack")
	return isPromoted(v, onValue, p)
}

func promotedMarshalMsgpack(t reflect.Type) bool {
	v, onValue := t.MethodByName("MarshalMsgpack")
	p, _ := reflect.PointerTo(t).MethodByName("MarshalMsgpack")
	return isPromoted(v, onValue, p)
}

func promotedProto(t reflect.Type) bool {
	v, onValue := t.MethodByName("ProtoReflect")
	p, _ := reflect.PointerTo(t).MethodByName("ProtoReflect")
	return isPromoted(v, onValue, p)
}

// isPromoted tells whether a method is one that the compiler made for an
// embedded field: those alone have no place in a file. It looks at the method of
// the value first, because that of the pointer is made from it in any case.
func isPromoted(onValue reflect.Method, has bool, onPointer reflect.Method) bool {
	m := onPointer
	if has {
		m = onValue
	}
	if !m.Func.IsValid() {
		return false
	}
	f := runtime.FuncForPC(m.Func.Pointer())
	if f == nil {
		return false
	}
	file, _ := f.FileLine(f.Entry())
	return file == "<autogenerated>"
}
