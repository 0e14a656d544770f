// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"fmt"
)

// MaxElements bounds the elements of all arrays in one request together. A
// fetch of ten thousand partitions has some ten thousand.
const MaxElements = 200_000

// kind is the type of a field. Those up to 16 are their width in bytes.
type kind uint8

const (
	i8   kind = 1
	i16  kind = 2
	i32  kind = 4
	i64  kind = 8
	uuid kind = 16

	str   kind = 100 + iota // a string, which may be null
	blob                    // bytes or records, which may be null
	list                    // an array: of elem, or of structs if that is 0
	part                    // one struct
	maybe                   // one struct or null, behind a byte that says which
)

// field is one field of a request, as in Kafka's message definitions.
type field struct {
	k        kind
	from, to int16 // versions that have it; to 0 means no end
	tagged   bool  // it is among the tagged fields, under tag
	tag      uint32
	elem     kind
	sub      []field

	null     bool  // an array that may be null
	nullFrom int16 // from this version on
}

func (f *field) in(version int16) bool {
	return version >= f.from && (f.to == 0 || version <= f.to)
}

// shape is the schema of one request key.
type shape struct {
	flexible int16 // first version with compact lengths and tagged fields; -1: none
	fields   []field
}

// Check walks body, which begins after the header of version 1, by the schema
// of key at version, and returns the part that kmsg decodes: what follows the
// tagged fields of the header. Bytes after the request's end are allowed, as
// Kafka allows them.
func Check(key, version int16, body []byte) ([]byte, error) {
	s, ok := shapes[key]
	if !ok {
		return nil, fmt.Errorf("no schema for request key %d", key)
	}
	w := walker{src: body, version: version, flexible: s.flexible >= 0 && version >= s.flexible}
	// ApiVersions is special in its response only; its requests have the
	// header that their version says.
	if w.flexible {
		w.tags(nil)
	}
	rest := w.src
	w.fields(s.fields)
	if w.err != nil {
		return nil, w.err
	}
	return rest, nil
}

// walker reads a request without keeping anything of it. After the first error
// it does nothing.
type walker struct {
	src      []byte
	version  int16
	flexible bool
	elements int
	err      error
}

func (w *walker) fail(err error) { w.err, w.src = err, nil }

func (w *walker) fields(fs []field) {
	for i := range fs {
		if f := &fs[i]; !f.tagged && f.in(w.version) {
			w.field(f)
		}
		if w.err != nil {
			return
		}
	}
	if w.flexible {
		w.tags(fs)
	}
}

func (w *walker) field(f *field) {
	switch f.k {
	case str:
		w.skip(w.length(2))
	case blob:
		w.skip(w.length(4))
	case list:
		w.list(f)
	case part:
		w.fields(f.sub)
	case maybe:
		if w.present() {
			w.fields(f.sub)
		}
	default:
		w.skip(int(f.k))
	}
}

func (w *walker) list(f *field) {
	n := w.length(4)
	if n < 0 && !(f.null && w.version >= f.nullFrom) {
		w.fail(errNullArray)
	}
	if w.elements += max(n, 0); w.err == nil && w.elements > MaxElements {
		w.fail(ErrTooManyElements)
	}
	for i := 0; i < n && w.err == nil; i++ {
		if f.elem != 0 {
			w.field(&field{k: f.elem})
		} else {
			w.fields(f.sub)
		}
	}
}

// tags walks the tagged fields at the end of a struct. Each takes at least two
// bytes, so their count is known to be false before the loop.
func (w *walker) tags(fs []field) {
	n := w.uvarint()
	if w.err == nil && uint64(n) > uint64(len(w.src)/2) {
		w.fail(ErrTruncated)
	}
	for ; n > 0 && w.err == nil; n-- {
		tag, size := w.uvarint(), w.uvarint()
		if w.err != nil || uint64(size) > uint64(len(w.src)) {
			w.fail(ErrTruncated)
			return
		}
		w.tag(fs, tag, w.src[:size])
		if w.err == nil {
			w.src = w.src[size:]
		}
	}
}

func (w *walker) tag(fs []field, tag uint32, content []byte) {
	for i := range fs {
		if f := &fs[i]; f.tagged && f.tag == tag && f.in(w.version) {
			inner := walker{src: content, version: w.version, flexible: w.flexible, elements: w.elements}
			inner.field(f)
			w.elements = inner.elements
			if inner.err != nil {
				w.fail(inner.err)
			}
			return
		}
	}
}

// length reads a length of width bytes, or a compact one. -1 stands for null.
func (w *walker) length(width int) int {
	var n int64
	switch {
	case w.flexible:
		n = int64(w.uvarint()) - 1
	case len(w.src) < width:
		w.fail(ErrTruncated)
	case width == 2:
		n = int64(int16(binary.BigEndian.Uint16(w.src)))
		w.src = w.src[2:]
	default:
		n = int64(int32(binary.BigEndian.Uint32(w.src)))
		w.src = w.src[4:]
	}
	if w.err != nil {
		return 0
	}
	if n < -1 || n > int64(len(w.src)) {
		w.fail(ErrTruncated)
		return 0
	}
	return int(n)
}

// present reads the byte before a struct that may be null: -1 says that it is.
func (w *walker) present() bool {
	if len(w.src) == 0 {
		w.fail(ErrTruncated)
		return false
	}
	b := int8(w.src[0])
	w.src = w.src[1:]
	return b != -1
}

func (w *walker) skip(n int) {
	if n < 0 { // null
		return
	}
	if n > len(w.src) {
		w.fail(ErrTruncated)
		return
	}
	w.src = w.src[n:]
}

func (w *walker) uvarint() uint32 {
	v, n := binary.Uvarint(w.src[:min(len(w.src), 5)])
	if n <= 0 || v > 1<<32-1 {
		w.fail(ErrTruncated)
		return 0
	}
	w.src = w.src[n:]
	return uint32(v)
}
