// SPDX-License-Identifier: Apache-2.0

package serde

import (
	"fmt"
	"reflect"

	"google.golang.org/protobuf/proto"
)

var messageType = reflect.TypeFor[proto.Message]()

// protobuf returns the serde of a T that is a pointer to a protobuf message.
// Equal messages have equal bytes as long as the program is the same; that
// protobuf does not promise more is why a message cannot be a key.
func protobuf[T any](t reflect.Type, key bool) (s Serde[T], ok bool, err error) {
	if t.Kind() != reflect.Pointer {
		if t.Kind() != reflect.Interface && reflect.PointerTo(t).Implements(messageType) {
			return s, false, none(t, "a protobuf message is handled by its pointer: use *%v", t)
		}
		return s, false, nil
	}
	if !t.Implements(messageType) {
		return s, false, nil
	}
	if key {
		return s, false, none(t, "protobuf is not canonical as a key")
	}
	if err := whole(t.Elem(), promotedProto); err != nil {
		return s, false, none(t, "%v", err)
	}
	zero := reflect.New(t.Elem()).Interface().(proto.Message)
	messages := zero.ProtoReflect().Type()
	marshal := proto.MarshalOptions{Deterministic: true}
	name := "protobuf(" + string(messages.Descriptor().FullName()) + ")"
	return Serde[T]{
		Name:   name,
		IsNull: isNilPointer[T],
		Append: func(dst []byte, v T) ([]byte, error) {
			b, err := marshal.MarshalAppend(dst, any(v).(proto.Message))
			if err != nil {
				return dst, fmt.Errorf("%s: %w", name, err)
			}
			return b, nil
		},
		Decode: func(src []byte) (v T, err error) {
			if src == nil {
				return v, nil
			}
			m := messages.New().Interface()
			if err := proto.Unmarshal(src, m); err != nil {
				return v, fmt.Errorf("%s: %w", name, err)
			}
			return any(m).(T), nil
		},
	}, true, nil
}
