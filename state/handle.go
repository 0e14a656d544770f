// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"

	"github.com/millrace/millrace/serde"
)

// A KV names a key-value store and its encodings: a handle that is declared once
// and used wherever the store is. It is a value and may be copied.
type KV[K, V any] struct {
	name   string
	keys   serde.Serde[K]
	values serde.Serde[V]
}

// KeyValue makes the handle of the key-value store called name. Its serdes are those
// of serde.ForKey and serde.For, if no others are given.
func KeyValue[K, V any](name string) KV[K, V] { return KV[K, V]{name: name} }

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

// Name is the store's name.
func (h KV[K, V]) Name() string { return h.name }

// Serdes gives the serdes of the store. Errors are those of serde.For.
func (h KV[K, V]) Serdes() (serde.Serde[K], serde.Serde[V], error) {
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

// Open makes the store on base, as [OpenKeyValue] does.
func (h KV[K, V]) Open(base Base, opt Options) (*KeyValueStore[K, V], error) {
	keys, values, err := h.Serdes()
	if err != nil {
		return nil, err
	}
	return OpenKeyValue(h.name, keys, values, base, opt), nil
}
