// SPDX-License-Identifier: Apache-2.0

package serde

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// maxDepth is how deep MessagePack values may be nested, both ways: the library
// recurses, and a stack that is used up ends the process.
const maxDepth = 1000

var (
	errShort = errors.New("MessagePack value is cut short")
	errDeep  = fmt.Errorf("MessagePack value is nested more than %d deep", maxDepth)
)

// An item is the start of a MessagePack value: its head, and its payload if it
// holds no other values.
type item struct {
	size    int  // bytes of head and payload
	values  int  // number of the values that follow and belong to it
	isMap   bool // they are pairs
	payload int  // of an extension: where it begins, or 0
}

// next reads the item at the start of src. It does not reach past src, and the
// item claims no more values than src has bytes for.
func next(src []byte) (item, error) {
	if len(src) == 0 {
		return item{}, errShort
	}
	c := src[0]
	switch {
	case msgpcode.IsFixedNum(c), c == msgpcode.Nil, c == msgpcode.False, c == msgpcode.True:
		return item{size: 1}, nil
	case msgpcode.IsFixedString(c):
		return sized(src, 1, uint64(c&msgpcode.FixedStrMask))
	case msgpcode.IsFixedArray(c):
		return holding(src, 1, uint64(c&msgpcode.FixedArrayMask), false)
	case msgpcode.IsFixedMap(c):
		return holding(src, 1, uint64(c&msgpcode.FixedMapMask), true)
	}
	return wide(src, c)
}

// wide is next for the codes that say little themselves.
func wide(src []byte, c byte) (item, error) {
	switch c {
	case msgpcode.Uint8, msgpcode.Int8:
		return sized(src, 1, 1)
	case msgpcode.Uint16, msgpcode.Int16:
		return sized(src, 1, 2)
	case msgpcode.Uint32, msgpcode.Int32, msgpcode.Float:
		return sized(src, 1, 4)
	case msgpcode.Uint64, msgpcode.Int64, msgpcode.Double:
		return sized(src, 1, 8)
	case msgpcode.Str8, msgpcode.Bin8:
		return counted(src, 1, sized)
	case msgpcode.Str16, msgpcode.Bin16:
		return counted(src, 2, sized)
	case msgpcode.Str32, msgpcode.Bin32:
		return counted(src, 4, sized)
	case msgpcode.Array16:
		return counted(src, 2, array)
	case msgpcode.Array32:
		return counted(src, 4, array)
	case msgpcode.Map16:
		return counted(src, 2, mapping)
	case msgpcode.Map32:
		return counted(src, 4, mapping)
	case msgpcode.FixExt1, msgpcode.FixExt2, msgpcode.FixExt4, msgpcode.FixExt8, msgpcode.FixExt16:
		return extension(src, 1, 1<<(c-msgpcode.FixExt1))
	case msgpcode.Ext8:
		return counted(src, 1, extension)
	case msgpcode.Ext16:
		return counted(src, 2, extension)
	case msgpcode.Ext32:
		return counted(src, 4, extension)
	}
	return item{}, fmt.Errorf("MessagePack has no code %#02x", c)
}

// counted reads a length of width bytes that follows the code, and goes on with
// then, to which it gives the length of the head so far.
func counted(src []byte, width int, then func(src []byte, head int, n uint64) (item, error)) (item, error) {
	if len(src) < 1+width {
		return item{}, errShort
	}
	var wide [8]byte
	copy(wide[8-width:], src[1:1+width])
	return then(src, 1+width, binary.BigEndian.Uint64(wide[:]))
}

func sized(src []byte, head int, n uint64) (item, error) {
	if n > uint64(len(src)) || head+int(n) > len(src) {
		return item{}, errShort
	}
	return item{size: head + int(n)}, nil
}

func extension(src []byte, head int, n uint64) (item, error) {
	it, err := sized(src, head+1, n)
	it.payload = head + 1
	return it, err
}

func array(src []byte, head int, n uint64) (item, error) { return holding(src, head, n, false) }

func mapping(src []byte, head int, n uint64) (item, error) { return holding(src, head, n, true) }

func holding(src []byte, head int, n uint64, isMap bool) (item, error) {
	if isMap {
		n *= 2
	}
	if n > uint64(len(src)-head) {
		return item{}, errShort
	}
	return item{size: head, values: int(n), isMap: isMap}, nil
}

// skip returns the length of the value at the start of src. An error means that
// there is none that is whole: after skip, every length inside is a true one.
func skip(src []byte) (int, error) {
	var shallow [16]int
	open := shallow[:0] // values that are still to come, of each value around
	pos, left := 0, 1
	for {
		for left == 0 {
			if len(open) == 0 {
				return pos, nil
			}
			left, open = open[len(open)-1], open[:len(open)-1]
		}
		it, err := next(src[pos:])
		if err != nil {
			return 0, err
		}
		pos += it.size
		left--
		if it.values > 0 {
			if len(open) == maxDepth {
				return 0, errDeep
			}
			open = append(open, left)
			left = it.values
		}
	}
}

// sortMaps puts the entries of every map in the value at the start of src in
// the order of the bytes of their keys, in place, and returns the length of the
// value. The library writes most maps in the order in which Go hands them out,
// which is another each time. What src holds has passed skip or was written
// here, so that it ends.
func sortMaps(src []byte) (int, error) {
	it, err := next(src)
	if err != nil {
		return 0, err
	}
	pos := it.size
	var entries []entry
	for i := 0; i < it.values; i++ {
		n, err := sortMaps(src[pos:])
		if err != nil {
			return 0, err
		}
		if it.isMap {
			entries = addEntry(entries, i, src[pos:pos+n])
		}
		pos += n
	}
	byKey := func(a, b entry) int { return bytes.Compare(a.key, b.key) }
	if !slices.IsSortedFunc(entries, byKey) {
		slices.SortFunc(entries, byKey)
		sorted := make([]byte, 0, pos-it.size)
		for _, e := range entries {
			sorted = append(append(sorted, e.key...), e.value...)
		}
		copy(src[it.size:pos], sorted)
	}
	return pos, nil
}

// An entry is a key and its value in a map, as they are written.
type entry struct{ key, value []byte }

// addEntry adds the i-th value of a map: keys and values take turns.
func addEntry(entries []entry, i int, b []byte) []entry {
	if i%2 == 0 {
		return append(entries, entry{key: b})
	}
	entries[len(entries)-1].value = b
	return entries
}

// input is what a decoder reads: bytes that have passed skip. Where the library
// wants a map and finds an extension, it takes the payload for the map (seen in
// v5.4.1), and would so come to lengths that skip has not seen. With guard set,
// a payload can only be read as a whole, which is how the library reads one that
// it wanted.
type input struct {
	src   []byte
	pos   int
	guard bool

	seen  int // items before this are known
	start int // of the payload of the last extension known
	end   int
}

func (in *input) Read(p []byte) (int, error) {
	if in.pos == len(in.src) && len(p) > 0 {
		return 0, io.EOF
	}
	n := copy(p, in.src[in.pos:])
	in.pos += n
	return n, nil
}

func (in *input) ReadByte() (byte, error) {
	if in.pos == len(in.src) {
		return 0, io.EOF
	}
	if in.guard && in.inPayload() {
		return 0, errors.New("MessagePack extension, want a map")
	}
	in.pos++
	return in.src[in.pos-1], nil
}

func (in *input) UnreadByte() error {
	if in.pos == 0 {
		return errors.New("nothing was read")
	}
	in.pos--
	return nil
}

// inPayload tells whether the next byte is in the payload of an extension. It
// walks along with the reads, an item at a time.
func (in *input) inPayload() bool {
	for in.seen <= in.pos && in.seen < len(in.src) {
		it, err := next(in.src[in.seen:])
		if err != nil {
			return true // cannot be: src has passed skip
		}
		if it.payload > 0 {
			in.start, in.end = in.seen+it.payload, in.seen+it.size
		}
		in.seen += it.size
	}
	return in.start <= in.pos && in.pos < in.end
}
