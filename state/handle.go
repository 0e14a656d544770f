// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"

	"github.com/millrace/millrace/serde"
)

// A handle is what the handles of all kinds of store are: a name and encodings.
type handle[K, V any] struct {
	name   string
	keys   serde.Serde[K]
	values serde.Serde[V]
}

// Name is the store's name.
func (h handle[K, V]) Name() string { return h.name }

// Serdes gives the serdes of the store. Errors are those of serde.For.
func (h handle[K, V]) Serdes() (serde.Serde[K], serde.Serde[V], error) {
	var err error
	keys, values := h.keys, h.values
	if !keys.Valid() {
		if keys, err = serde.ForKey[K](); err != nil {
			return keys, values, fmt.Errorf("keys of store %s: %w", h.name, err)
		}
	}
	if !values.Valid() {
		if values, err = serde.For[V](); err != nil {
			return keys, values, fmt.Errorf("values of store %s: %w", h.name, err)
		}
	}
	return keys, values, nil
}

// A KV names a key-value store and its encodings: a handle that is declared once
// and used wherever the store is. It is a value and may be copied.
type KV[K, V any] struct{ handle[K, V] }

// KeyValue makes the handle of the key-value store called name. Its serdes are those
// of serde.ForKey and serde.For, if no others are given.
func KeyValue[K, V any](name string) KV[K, V] { return KV[K, V]{handle[K, V]{name: name}} }

// Keys is h with another serde for keys.
func (h KV[K, V]) Keys(s serde.Serde[K]) KV[K, V] {
	h.keys = s
	return h
}

// Values is h with another serde for values.
func (h KV[K, V]) Values(s serde.Serde[V]) KV[K, V] {
	h.values = s
	return h
}

// Open makes the store on base, as [OpenKeyValue] does.
func (h KV[K, V]) Open(base Base, opt Options) (*KeyValueStore[K, V], error) {
	keys, values, err := h.Serdes()
	if err != nil {
		return nil, err
	}
	return OpenKeyValue(h.name, keys, values, base, opt), nil
}

// A Windows names a window store and its encodings: a handle as [KV] is.
type Windows[K, V any] struct {
	handle[K, V]
	options WindowOptions
}

// Window makes the handle of the window store called name. Its serdes are those of
// serde.ForKey and serde.For, if no others are given.
func Window[K, V any](name string, o WindowOptions) Windows[K, V] {
	return Windows[K, V]{handle: handle[K, V]{name: name}, options: o}
}

// Keys is h with another serde for keys.
func (h Windows[K, V]) Keys(s serde.Serde[K]) Windows[K, V] {
	h.keys = s
	return h
}

// Values is h with another serde for values.
func (h Windows[K, V]) Values(s serde.Serde[V]) Windows[K, V] {
	h.values = s
	return h
}

// Open makes the store on base, as [OpenWindow] does.
func (h Windows[K, V]) Open(base Base, opt Options) (*WindowStore[K, V], error) {
	keys, values, err := h.Serdes()
	if err != nil {
		return nil, err
	}
	return OpenWindow(h.name, keys, values, h.options, base, opt), nil
}

// A Sessions names a session store and its encodings: a handle as [KV] is.
type Sessions[K, V any] struct {
	handle[K, V]
	options SessionOptions
}

// Session makes the handle of the session store called name. Its serdes are those of
// serde.ForKey and serde.For, if no others are given.
func Session[K, V any](name string, o SessionOptions) Sessions[K, V] {
	return Sessions[K, V]{handle: handle[K, V]{name: name}, options: o}
}

// Keys is h with another serde for keys.
func (h Sessions[K, V]) Keys(s serde.Serde[K]) Sessions[K, V] {
	h.keys = s
	return h
}

// Values is h with another serde for values.
func (h Sessions[K, V]) Values(s serde.Serde[V]) Sessions[K, V] {
	h.values = s
	return h
}

// Open makes the store on base, as [OpenSession] does.
func (h Sessions[K, V]) Open(base Base, opt Options) (*SessionStore[K, V], error) {
	keys, values, err := h.Serdes()
	if err != nil {
		return nil, err
	}
	return OpenSession(h.name, keys, values, h.options, base, opt), nil
}

// A Lists names a list store and its encodings: a handle as [KV] is.
type Lists[K, V any] struct{ handle[K, V] }

// List makes the handle of the list store called name. Its serdes are those of
// serde.ForKey and serde.For, if no others are given.
func List[K, V any](name string) Lists[K, V] {
	return Lists[K, V]{handle: handle[K, V]{name: name}}
}

// Keys is h with another serde for keys.
func (h Lists[K, V]) Keys(s serde.Serde[K]) Lists[K, V] {
	h.keys = s
	return h
}

// Values is h with another serde for values.
func (h Lists[K, V]) Values(s serde.Serde[V]) Lists[K, V] {
	h.values = s
	return h
}

// Open makes the store on base, as [OpenList] does.
func (h Lists[K, V]) Open(base Base, opt Options) (*ListStore[K, V], error) {
	keys, values, err := h.Serdes()
	if err != nil {
		return nil, err
	}
	return OpenList(h.name, keys, values, base, opt), nil
}
