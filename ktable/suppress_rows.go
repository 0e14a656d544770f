// SPDX-License-Identifier: Apache-2.0

package ktable

import (
	"encoding/binary"
	"fmt"

	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// The rows of a store of Suppress, in their order:
//
//	row:  0 | key                -> 1 | time, timestamp: varints | headers | old | now
//	time: 1 | time 8 bytes | key -> 0
//
// headers are their number, and of each the lengths and bytes of its key and value; old
// and now are their length plus 2 and their bytes, or 0 for none, 1 for the null of their
// type; numbers are varints. A commit that was not finished leaves rows without their
// times in the changelog, which are mended, or times without their rows, which are passed over.

// A heldPlace is the key of a row.
type heldPlace[K any] struct {
	timed bool
	at    int64 // if timed
	key   K
	bare  bool // a bound of a scan: there is no key
}

// A held is a row's value: the latest change of a row that is held back.
type held[V any] struct {
	mark      bool  // of a time: there is nothing else
	at        int64 // when it came, or its window's end
	timestamp int64
	headers   []processor.Header
	old, now  opt.V[V]
}

// signBit turns the order of int64 into that of bytes.
const signBit = 1 << 63

func heldPlaces[K any](keys serde.Serde[K]) serde.Serde[heldPlace[K]] {
	return serde.Serde[heldPlace[K]]{
		Name: keys.Name,
		Append: func(dst []byte, p heldPlace[K]) ([]byte, error) {
			if p.timed {
				dst = binary.BigEndian.AppendUint64(append(dst, 1), uint64(p.at)^signBit)
			} else {
				dst = append(dst, 0)
			}
			if p.bare {
				return dst, nil
			}
			return keys.Append(dst, p.key)
		},
		Decode: func(src []byte) (p heldPlace[K], err error) {
			switch {
			case len(src) > 0 && src[0] == 0:
				src = src[1:]
			case len(src) > 8 && src[0] == 1:
				p.timed, p.at, src = true, int64(binary.BigEndian.Uint64(src[1:])^signBit), src[9:]
			default:
				return p, fmt.Errorf("key of a suppressed row, %d bytes: %w", len(src), state.ErrDamaged)
			}
			p.key, err = keys.Decode(src)
			return p, err
		},
	}
}

func heldRows[V any](values serde.Serde[V]) serde.Serde[held[V]] {
	return serde.Serde[held[V]]{
		Name: fmt.Sprintf("suppress(%s)", values.Name),
		Append: func(dst []byte, h held[V]) ([]byte, error) {
			if h.mark {
				return append(dst, 0), nil
			}
			dst = binary.AppendVarint(append(dst, 1), h.at)
			dst = binary.AppendVarint(dst, h.timestamp)
			dst = binary.AppendUvarint(dst, uint64(len(h.headers)))
			for _, x := range h.headers {
				dst = binary.AppendUvarint(dst, uint64(len(x.Key)))
				dst = append(dst, x.Key...)
				dst = appendBytes(dst, x.Value, x.Value != nil)
			}
			dst, err := appendValue(dst, values, h.old)
			if err != nil {
				return dst, err
			}
			return appendValue(dst, values, h.now)
		},
		Decode: func(src []byte) (h held[V], err error) {
			if len(src) == 1 && src[0] == 0 {
				return held[V]{mark: true}, nil
			}
			if len(src) == 0 || src[0] != 1 {
				return h, errHeld
			}
			c := cutter{src[1:], nil}
			h.at, h.timestamp = c.varint(), c.varint()
			for n := c.uvarint(); n > 0 && c.err == nil; n-- {
				key := string(c.bytes(c.uvarint()))
				value, ok := c.lengthed()
				x := processor.Header{Key: key}
				if ok {
					x.Value = append([]byte{}, value...)
				}
				h.headers = append(h.headers, x)
			}
			if h.old, err = cutValue(&c, values); err == nil {
				h.now, err = cutValue(&c, values)
			}
			switch {
			case c.err != nil:
				return held[V]{}, c.err
			case err == nil && len(c.rest) > 0:
				err = errHeld
			}
			return h, err
		},
	}
}

var errHeld = fmt.Errorf("suppressed row: %w", state.ErrDamaged)

// appendBytes appends a length plus 2 and the bytes, or 0 if there are none to append.
func appendBytes(dst, b []byte, ok bool) []byte {
	if !ok {
		return append(dst, 0)
	}
	return append(binary.AppendUvarint(dst, uint64(len(b))+2), b...)
}

func appendValue[V any](dst []byte, values serde.Serde[V], v opt.V[V]) ([]byte, error) {
	switch {
	case !v.OK:
		return append(dst, 0), nil
	case values.IsNull != nil && values.IsNull(v.Value):
		return append(dst, 1), nil
	}
	b, err := values.Append(nil, v.Value)
	return appendBytes(dst, b, true), err
}

func cutValue[V any](c *cutter, values serde.Serde[V]) (v opt.V[V], err error) {
	if c.err == nil && len(c.rest) > 0 && c.rest[0] == 1 {
		c.rest = c.rest[1:]
		v.OK = true
		v.Value, err = values.Decode(nil)
		return v, err
	}
	b, ok := c.lengthed()
	if !ok {
		return v, c.err
	}
	v.OK = true
	v.Value, err = values.Decode(b)
	return v, err
}

// A cutter takes a row apart. After a failure everything it gives is empty.
type cutter struct {
	rest []byte
	err  error
}

func (c *cutter) fail() { c.rest, c.err = nil, errHeld }

func (c *cutter) varint() int64 {
	v, n := binary.Varint(c.rest)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.rest = c.rest[n:]
	return v
}

func (c *cutter) uvarint() uint64 {
	v, n := binary.Uvarint(c.rest)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.rest = c.rest[n:]
	return v
}

func (c *cutter) bytes(n uint64) []byte {
	if n > uint64(len(c.rest)) {
		c.fail()
		return nil
	}
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

// lengthed cuts what appendBytes has written.
func (c *cutter) lengthed() (b []byte, ok bool) {
	switch n := c.uvarint(); {
	case c.err != nil || n == 0:
		return nil, false
	case n == 1:
		c.fail()
		return nil, false
	default:
		b = c.bytes(n - 2)
		return b, c.err == nil
	}
}
