// SPDX-License-Identifier: Apache-2.0

// Package keyenc is the layout of the keys of windowed stores and lists: how they
// lie in a base, ordered as bytes, and how in a changelog, where they are those of
// Kafka Streams (WindowKeySchema.java, SessionKeySchema.java).
//
//	in a base                                            in a changelog
//	segment | escaped key | start | seq uint32           key | start | seq     windows
//	start | escaped key | seq uint32                     key | start | seq     windows, by time
//	segment | escaped key | end | start                  key | end | start     sessions
//	escaped key | seq uint64                             the same              lists
//
// Times are ms since the Unix epoch: int64, in a base with the sign bit turned, so
// that they are in order as bytes, in a changelog as they are. A segment is
// floor(time / its length), of the start of a window and of the end of a session.
// A key is escaped so that its end is seen and no key is a prefix of another: a
// zero byte becomes 00 ff, and 00 01 follows the last one. The order stays.
package keyenc

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// ErrBad says that bytes are no key of the layout.
var ErrBad = errors.New("keyenc: not a key of this layout")

const (
	zero     = 0x00
	escaped  = 0xff // after a zero: it is one of the key's
	ended    = 0x01 // after a zero: the key is over
	timeLen  = 8
	flipSign = 1 << 63
)

// AppendTime appends t so that the bytes of times are ordered as the times are.
func AppendTime(dst []byte, t int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(t)^flipSign)
}

// Time reads what AppendTime wrote. b has at least 8 bytes.
func Time(b []byte) int64 { return int64(binary.BigEndian.Uint64(b) ^ flipSign) }

// Escape escapes b[from:] where it is and ends it.
func Escape(b []byte, from int) []byte {
	if n := bytes.Count(b[from:], []byte{zero}); n > 0 {
		b = spread(b, from, n)
	}
	return append(b, zero, ended)
}

// spread makes room after each of the n zeros of b[from:], from the end on.
func spread(b []byte, from, n int) []byte {
	read := len(b) - 1
	for range n {
		b = append(b, 0)
	}
	for write := len(b) - 1; read >= from; read-- {
		if b[read] == zero {
			b[write] = escaped
			write--
		}
		b[write] = b[read]
		write--
	}
	return b
}

// Unescape reads an escaped key from the front of b. If it has no zeros the key is
// a part of b, else it is written to dst, which is overwritten and may be nil.
func Unescape(dst, b []byte) (key, rest []byte, err error) {
	end := bytes.IndexByte(b, zero)
	if end >= 0 && end+1 < len(b) && b[end+1] == ended {
		return b[:end:end], b[end+2:], nil
	}
	dst = dst[:0]
	for {
		if end < 0 || end+1 >= len(b) {
			return nil, nil, ErrBad
		}
		dst = append(dst, b[:end]...)
		mark := b[end+1]
		b = b[end+2:]
		switch mark {
		case ended:
			return dst, b, nil
		case escaped:
			dst = append(dst, zero)
		default:
			return nil, nil, ErrBad
		}
		end = bytes.IndexByte(b, zero)
	}
}
