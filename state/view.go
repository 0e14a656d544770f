// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"

	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/serde"
)

// A View reads what is committed in a key-value store: the base and the committed
// layers. It takes no lock of the store, and any number of goroutines may use it
// beside the worker. After the base is closed its methods answer [ErrClosed].
type View[K, V any] struct {
	s *KeyValueStore[K, V] // only fields that never change, and stack.view
}

// Committed gives the committed view. It may be called by any goroutine.
func (s *KeyValueStore[K, V]) Committed() View[K, V] { return View[K, V]{s} }

// Get reads key as of the last Commit. ok is false if it has no value.
func (v View[K, V]) Get(key K) (value V, timestamp int64, ok bool, err error) {
	b, err := v.s.keys.Encode(key)
	if err == nil && b == nil {
		err = serde.ErrNull
	}
	if err != nil {
		return value, 0, false, v.s.c.failed(fmt.Errorf("encode key: %w", err))
	}
	body, ok, err := lookup(nil, v.s.c.committed().layers, v.s.c.base, v.s.c.hash(b), b)
	if err != nil || !ok {
		return value, 0, false, v.s.c.failed(err)
	}
	value, timestamp, err = decodeBody(v.s.c.values, body)
	return value, timestamp, err == nil, v.s.c.failed(err)
}

// All scans all that is committed; see Range.
func (v View[K, V]) All(o Order) *Scan[K, V] { return v.Range(opt.None[K](), opt.None[K](), o) }

// Range is [KeyValueStore.Range] over what is committed: all of one commit, and
// nothing of the next.
func (v View[K, V]) Range(from, to opt.V[K], o Order) *Scan[K, V] {
	s := v.s
	return &Scan[K, V]{keys: s.keys, rows: s.c.openView(o, func(marks) (span, error) {
		lower, upper, err := bounds(s.keys, from, to)
		return span{ranges: []keyRange{{lower, upper}}}, err
	})}
}
