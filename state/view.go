// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"
	"hash/maphash"

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
		return value, 0, false, v.s.failed(fmt.Errorf("encode key: %w", err))
	}
	body, ok, err := lookup(nil, v.s.committed(), v.s.base, maphash.Bytes(v.s.seed, b), b)
	if err != nil || !ok {
		return value, 0, false, v.s.failed(err)
	}
	value, timestamp, err = decodeBody(v.s.values, body)
	return value, timestamp, err == nil, v.s.failed(err)
}

// All scans all that is committed; see Range.
func (v View[K, V]) All(o Order) *Scan[K, V] { return v.Range(opt.None[K](), opt.None[K](), o) }

// Range is [KeyValueStore.Range] over what is committed: all of one commit, and
// nothing of the next.
func (v View[K, V]) Range(from, to opt.V[K], o Order) *Scan[K, V] {
	s := v.s
	sc := &Scan[K, V]{name: s.name, keys: s.keys, values: s.values}
	lower, upper, err := bounds(s.keys, from, to)
	if err != nil {
		sc.err = s.failed(err)
		return sc
	}
	for {
		seen := s.view.Load()
		it, err := s.base.Iterate(lower, upper, o)
		if err != nil {
			sc.err = s.failed(err)
			return sc
		}
		// The worker applies layers to the base, then takes them out of the view. If
		// the view is still the same, the base under the iterator has got nothing that
		// is not in these layers too: together they are one commit. Else it may be that
		// the iterator sees a later commit than the layers.
		if s.view.Load() == seen {
			var layers []*Layer
			if seen != nil {
				layers = *seen
			}
			sc.m.layers(layers, lower, upper, o)
			sc.m.add(baseCursor{it})
			return sc
		}
		if err := it.Close(); err != nil {
			sc.err = s.failed(err)
			return sc
		}
	}
}
