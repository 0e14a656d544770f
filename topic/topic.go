// SPDX-License-Identifier: Apache-2.0

// Package topic names a topic and the types of its records as one value, used
// alike by sources, sinks, clients and tests.
package topic

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"

	"github.com/millrace/millrace/serde"
)

// A Topic is the name of a topic with the serdes of its keys and values. It is
// a plain value: copying it is cheap, and its methods change nothing.
type Topic[K, V any] struct {
	name     string
	keys     serde.Serde[K]
	values   serde.Serde[V]
	keyErr   error
	valueErr error
	pc       uintptr // of the call of Of
}

// Of returns the topic of that name, its serdes found by type: serde.ForKey
// for the keys and serde.For for the values. It does not fail: what is wrong is
// told by Err, and with it by the check of the topology that uses the topic.
func Of[K, V any](name string) Topic[K, V] {
	t := Topic[K, V]{name: name}
	t.keys, t.keyErr = serde.ForKey[K]()
	t.values, t.valueErr = serde.For[V]()
	var pcs [1]uintptr
	runtime.Callers(2, pcs[:])
	t.pc = pcs[0]
	return t
}

// Keys returns t with s for its keys. The engine compares keys by their bytes:
// s must write equal keys as equal bytes.
func (t Topic[K, V]) Keys(s serde.Serde[K]) Topic[K, V] {
	t.keys, t.keyErr = s, given(s)
	return t
}

// Values returns t with s for its values.
func (t Topic[K, V]) Values(s serde.Serde[V]) Topic[K, V] {
	t.values, t.valueErr = s, given(s)
	return t
}

// given checks a serde that the program gave.
func given[T any](s serde.Serde[T]) error {
	if s.Valid() {
		return nil
	}
	return errors.New("the serde given is not valid: it needs Name, Append and Decode")
}

// Name returns the name of the topic.
func (t Topic[K, V]) Name() string { return t.name }

// KeySerde returns the serde of the keys. It is not valid if Err is not nil
// because of it.
func (t Topic[K, V]) KeySerde() serde.Serde[K] { return t.keys }

// ValueSerde returns the serde of the values. It is not valid if Err is not nil
// because of it.
func (t Topic[K, V]) ValueSerde() serde.Serde[V] { return t.values }

// Err returns what is wrong with the topic, all problems joined, or nil: a name
// that Kafka would refuse, or a type without an encoding.
func (t Topic[K, V]) Err() error {
	errs := []error{CheckName(t.name)}
	if t.keyErr != nil {
		errs = append(errs, fmt.Errorf("topic %q: keys: %w", t.name, t.keyErr))
	}
	if t.valueErr != nil {
		errs = append(errs, fmt.Errorf("topic %q: values: %w", t.name, t.valueErr))
	}
	return errors.Join(errs...)
}

// Site returns where Of was called, as "file:line", for messages. It is empty
// for the zero Topic.
func (t Topic[K, V]) Site() string {
	if t.pc == 0 {
		return ""
	}
	frame, _ := runtime.CallersFrames([]uintptr{t.pc}).Next()
	return frame.File + ":" + strconv.Itoa(frame.Line)
}
