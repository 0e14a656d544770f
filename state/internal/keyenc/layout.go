// SPDX-License-Identifier: Apache-2.0

package keyenc

import (
	"encoding/binary"
	"math"
)

// A Window is the layout of the keys of a window store.
type Window struct {
	Segment int64 // length of a segment in ms, more than 0
	ByTime  bool  // start first
}

// SegmentLength is that of a store that keeps rows for retention ms, 0 for ever.
func SegmentLength(retention int64) int64 {
	if retention <= 0 {
		return math.MaxInt64
	}
	return max(retention/2, 60_000)
}

// SegmentOf is the number of the segment of t.
func SegmentOf(t, length int64) int64 {
	n := t / length
	if t%length < 0 {
		n--
	}
	return n
}

// Head begins the key of a row in dst. The encoded key follows, then Tail.
func (w Window) Head(dst []byte, start int64) []byte {
	if w.ByTime {
		return AppendTime(dst, start)
	}
	return AppendTime(dst, SegmentOf(start, w.Segment))
}

// Tail ends the key of a row that Head began at the front of b.
func (w Window) Tail(b []byte, start int64, seq uint32) []byte {
	b = Escape(b, timeLen)
	if !w.ByTime {
		b = AppendTime(b, start)
	}
	return binary.BigEndian.AppendUint32(b, seq)
}

// Time reads the start of a row that has the least length.
func (w Window) Time(b []byte) int64 {
	if w.ByTime {
		return Time(b)
	}
	return Time(b[len(b)-timeLen-4:])
}

// Seq reads the number of a row that has the least length.
func (w Window) Seq(b []byte) uint32 { return binary.BigEndian.Uint32(b[len(b)-4:]) }

// Rest reads what rows of the same key and start differ by: their number.
func (w Window) Rest(b []byte) int64 { return int64(w.Seq(b)) }

// Key is the escaped key of a row that has the least length.
func (w Window) Key(b []byte) []byte {
	if w.ByTime {
		return b[timeLen : len(b)-4]
	}
	return b[timeLen : len(b)-timeLen-4]
}

// Least is the length of the shortest key of a row.
func (w Window) Least() int {
	if w.ByTime {
		return timeLen + 2 + 4
	}
	return timeLen + 2 + timeLen + 4
}

// Parse takes the key of a row apart. key is a part of b, or written to dst.
func (w Window) Parse(dst, b []byte) (key []byte, start int64, seq uint32, err error) {
	if len(b) < w.Least() {
		return nil, 0, 0, ErrBad
	}
	key, rest, err := Unescape(dst, b[timeLen:])
	if err != nil || len(rest) != w.Least()-timeLen-2 {
		return nil, 0, 0, ErrBad
	}
	start = w.Time(b)
	if !w.ByTime && Time(b) != SegmentOf(start, w.Segment) {
		return nil, 0, 0, ErrBad
	}
	return key, start, binary.BigEndian.Uint32(rest[len(rest)-4:]), nil
}

// AppendChangelog appends the changelog's key of a row to dst.
func (w Window) AppendChangelog(dst, b []byte) ([]byte, error) {
	key, start, seq, err := w.Parse(nil, b)
	if err != nil {
		return dst, err
	}
	dst = append(dst, key...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(start))
	return binary.BigEndian.AppendUint32(dst, seq), nil
}

// FromChangelog makes the key of a row from that of the changelog, in dst from its
// front.
func (w Window) FromChangelog(dst, b []byte) ([]byte, error) {
	n := len(b) - timeLen - 4
	if n < 0 {
		return dst[:0], ErrBad
	}
	start := int64(binary.BigEndian.Uint64(b[n:]))
	dst = append(w.Head(dst[:0], start), b[:n]...)
	return w.Tail(dst, start, binary.BigEndian.Uint32(b[n+timeLen:])), nil
}

// A Session is the layout of the keys of a session store: the length of a segment
// in ms, more than 0.
type Session int64

const sessionLeast = timeLen + 2 + 2*timeLen

// Head begins the key of a row in dst. The encoded key follows, then Tail.
func (s Session) Head(dst []byte, end int64) []byte {
	return AppendTime(dst, SegmentOf(end, int64(s)))
}

// Tail ends the key of a row that Head began at the front of b.
func (s Session) Tail(b []byte, end, start int64) []byte {
	return AppendTime(AppendTime(Escape(b, timeLen), end), start)
}

// Least is the length of the shortest key of a row.
func (s Session) Least() int { return sessionLeast }

// Time reads the end of a row that has the least length.
func (s Session) Time(b []byte) int64 { return Time(b[len(b)-2*timeLen:]) }

// Seq is 0: no two rows have the same key, start and end.
func (s Session) Seq([]byte) uint32 { return 0 }

// Rest reads what rows of the same key and end differ by: their start.
func (s Session) Rest(b []byte) int64 { return s.Start(b) }

// Key is the escaped key of a row that has the least length.
func (s Session) Key(b []byte) []byte { return b[timeLen : len(b)-2*timeLen] }

// Start reads the start of a row that has the least length.
func (s Session) Start(b []byte) int64 { return Time(b[len(b)-timeLen:]) }

// Parse takes the key of a row apart. key is a part of b, or written to dst.
func (s Session) Parse(dst, b []byte) (key []byte, end, start int64, err error) {
	if len(b) < sessionLeast {
		return nil, 0, 0, ErrBad
	}
	key, rest, err := Unescape(dst, b[timeLen:])
	if err != nil || len(rest) != 2*timeLen || Time(b) != SegmentOf(s.Time(b), int64(s)) {
		return nil, 0, 0, ErrBad
	}
	return key, Time(rest), Time(rest[timeLen:]), nil
}

// AppendChangelog appends the changelog's key of a row to dst.
func (s Session) AppendChangelog(dst, b []byte) ([]byte, error) {
	key, end, start, err := s.Parse(nil, b)
	if err != nil {
		return dst, err
	}
	dst = append(dst, key...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(end))
	return binary.BigEndian.AppendUint64(dst, uint64(start)), nil
}

// FromChangelog makes the key of a row from that of the changelog, in dst from its
// front.
func (s Session) FromChangelog(dst, b []byte) ([]byte, error) {
	n := len(b) - 2*timeLen
	if n < 0 {
		return dst[:0], ErrBad
	}
	end := int64(binary.BigEndian.Uint64(b[n:]))
	dst = append(s.Head(dst[:0], end), b[:n]...)
	return s.Tail(dst, end, int64(binary.BigEndian.Uint64(b[n+timeLen:]))), nil
}

// ParseList takes the key of a list's row apart. key is a part of b, or written
// to dst.
func ParseList(dst, b []byte) (key []byte, seq uint64, err error) {
	key, rest, err := Unescape(dst, b)
	if err != nil || len(rest) != 8 {
		return nil, 0, ErrBad
	}
	return key, binary.BigEndian.Uint64(rest), nil
}
