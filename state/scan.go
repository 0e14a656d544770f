// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"fmt"
	"iter"
	"slices"

	"github.com/tidwall/btree"

	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/serde"
)

// dirtyKey is a key of the open layer and its place in the list of dirty entries.
type dirtyKey struct {
	key []byte
	pos int
}

func lessKey(a, b dirtyKey) bool { return bytes.Compare(a.key, b.key) < 0 }

// All scans the whole store; see Range.
func (s *KeyValueStore[K, V]) All(o Order) *Scan[K, V] {
	return s.Range(opt.None[K](), opt.None[K](), o)
}

// Range scans the keys from from to to, both included, in order of their encodings
// (that of numbers below zero comes last); an absent bound leaves that end open.
// The scan sees the store as it is now: what is changed while it runs, also
// through the same store, does not show. Unless it is read to its end it must be
// closed: the close of a base on disk waits for it.
func (s *KeyValueStore[K, V]) Range(from, to opt.V[K], o Order) *Scan[K, V] {
	sc := &Scan[K, V]{keys: s.keys}
	lower, upper, err := bounds(s.keys, from, to)
	if err != nil {
		sc.rows = &rowScan[V]{name: s.c.name}
		sc.rows.fail(err)
		return sc
	}
	sc.rows = s.c.openScan(span{ranges: []keyRange{{lower, upper}}}, o)
	return sc
}

// Prefix scans the keys whose encodings begin with prefix, in order of these. As Range
// otherwise.
func (s *KeyValueStore[K, V]) Prefix(prefix []byte, o Order) *Scan[K, V] {
	r := keyRange{bytes.Clone(prefix), successor(bytes.Clone(prefix))}
	return &Scan[K, V]{keys: s.keys, rows: s.c.openScan(span{ranges: []keyRange{r}}, o)}
}

// snapshot copies the dirty entries of [lower, upper).
func (s *core[V]) snapshot(lower, upper []byte, o Order) []openItem[V] {
	if s.order == nil {
		s.order = btree.NewBTreeGOptions(lessKey, btree.Options{NoLocks: true})
		for pos, index := range s.dirty {
			if e := s.young.at(index); e.cell.state&cellFree == 0 {
				s.order.Set(dirtyKey{s.young.key(e), pos})
			}
		}
	}
	var items []openItem[V]
	s.order.Ascend(dirtyKey{key: lower}, func(d dirtyKey) bool {
		if upper != nil && bytes.Compare(d.key, upper) >= 0 {
			return false
		}
		c := &s.young.at(s.dirty[d.pos]).cell
		key := d.key
		if s.shelf != nil {
			key = bytes.Clone(key) // Seal takes the memory back
		}
		items = append(items, openItem[V]{key, c.Value, c.Timestamp, c.OK})
		return true
	})
	if o == Backward {
		slices.Reverse(items)
	}
	return items
}

// bounds encodes the ends of a scan: [lower, upper), nil is open.
func bounds[K any](keys serde.Serde[K], from, to opt.V[K]) (lower, upper []byte, err error) {
	if from.OK {
		if lower, err = encodeBound(keys, from.Value); err != nil {
			return nil, nil, err
		}
	}
	if to.OK {
		if upper, err = encodeBound(keys, to.Value); err != nil {
			return nil, nil, err
		}
		upper = append(upper, 0) // the first key after it
	}
	return lower, upper, nil
}

func encodeBound[K any](keys serde.Serde[K], key K) ([]byte, error) {
	b, err := keys.Encode(key)
	if err != nil {
		return nil, fmt.Errorf("encode bound: %w", err)
	}
	if b == nil {
		return nil, fmt.Errorf("bound: %w", serde.ErrNull)
	}
	return b, nil
}

// A Scan walks over entries of a store in order of the encoded key. It belongs to
// one goroutine.
//
//	sc := store.All(state.Forward)
//	defer sc.Close()
//	for sc.Next() {
//		use(sc.Key(), sc.Value())
//	}
//	return sc.Err()
type Scan[K, V any] struct {
	keys serde.Serde[K]
	rows *rowScan[V]
	key  K
}

// Next goes to the next entry. False means the end, or an error: see Err; what the
// scan holds is then freed.
func (sc *Scan[K, V]) Next() bool {
	if !sc.rows.next() {
		return false
	}
	var err error
	if sc.key, err = sc.keys.Decode(sc.rows.key); err != nil {
		sc.rows.fail(fmt.Errorf("decode key %x: %w", sc.rows.key, err))
	}
	return err == nil
}

// Key is the entry's key.
func (sc *Scan[K, V]) Key() K { return sc.key }

// Value is the entry's value.
func (sc *Scan[K, V]) Value() V { return sc.rows.value }

// Timestamp is that of the value, ms since the Unix epoch.
func (sc *Scan[K, V]) Timestamp() int64 { return sc.rows.timestamp }

// Err is what ended the scan early, nil at the plain end.
func (sc *Scan[K, V]) Err() error { return sc.rows.err }

// Close frees what the scan holds. A second call does nothing.
func (sc *Scan[K, V]) Close() error { return sc.rows.close() }

// Seq is the scan for a range clause. It closes the scan at its end; Err is to be
// looked at afterwards.
func (sc *Scan[K, V]) Seq() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		defer sc.Close()
		for sc.Next() && yield(sc.key, sc.rows.value) {
		}
	}
}

// openItem is an entry of the open layer at the moment a scan began.
type openItem[V any] struct {
	k         []byte
	value     V
	timestamp int64
	ok        bool
}

// openCursor walks over copied entries of an open layer, in the scan's order.
type openCursor[V any] struct {
	items []openItem[V]
	at    int
}

func (c *openCursor[V]) next() (bool, error)  { c.at++; return c.at < len(c.items), nil }
func (c *openCursor[V]) key() []byte          { return c.items[c.at].k }
func (c *openCursor[V]) body() ([]byte, bool) { return nil, c.items[c.at].ok }
func (c *openCursor[V]) close() error         { return nil }
