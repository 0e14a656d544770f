// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"sort"
)

// indexes are the two sparse indexes of a segment. Offsets are relative to the
// segment's base offset. Entries are only ever appended, so a copy of the slices
// stays good beside an appender.
type indexes struct {
	offsets []offsetEntry
	times   []timeEntry
}

// An offsetEntry says at which byte the batch lies that begins at an offset.
type offsetEntry struct{ rel, pos int32 }

// A timeEntry says that ts is the highest timestamp so far, first reached by the
// batch that begins at rel: no record before that batch is as late.
type timeEntry struct {
	ts  int64 // ms
	rel int32
}

// floor is the last entry whose batch begins at rel or before; the segment's
// first batch if there is none.
func (x *indexes) floor(rel int64) offsetEntry {
	i := sort.Search(len(x.offsets), func(i int) bool { return int64(x.offsets[i].rel) > rel })
	if i == 0 {
		return offsetEntry{}
	}
	return x.offsets[i-1]
}

// floorBefore is the last entry whose batch begins before the position pos and
// before rel; the segment's first batch if there is none.
func (x *indexes) floorBefore(pos, rel int64) offsetEntry {
	i := sort.Search(len(x.offsets), func(i int) bool {
		return int64(x.offsets[i].pos) >= pos || int64(x.offsets[i].rel) >= rel
	})
	if i == 0 {
		return offsetEntry{}
	}
	return x.offsets[i-1]
}

// before names the batch at which the search for the first record of ts or later
// may begin; ok is false if it is the segment's first.
func (x *indexes) before(ts int64) (_ timeEntry, ok bool) {
	i := sort.Search(len(x.times), func(i int) bool { return x.times[i].ts > ts })
	if i == 0 {
		return timeEntry{}, false
	}
	return x.times[i-1], true
}

// Both index files are entries followed by a trailer, big endian:
//
//	.index      relative offset int32 | position int32
//	.timeindex  timestamp int64 | relative offset int32
//	trailer     magic "MRIX" | version uint16 = 1 | entry size uint16 | entries uint32 | log bytes uint32 |
//	            CRC-32C uint32 of all before
const (
	indexMagic      = "MRIX"
	indexVersion    = 1
	indexTrailer    = 20
	offsetEntrySize = 8
	timeEntrySize   = 12
)

var errIndex = errors.New("malformed index")

func appendTrailer(b []byte, entrySize, entries int, logBytes int64) []byte {
	be := binary.BigEndian
	b = append(b, indexMagic...)
	b = be.AppendUint16(b, indexVersion)
	b = be.AppendUint16(b, uint16(entrySize))
	b = be.AppendUint32(b, uint32(entries))
	b = be.AppendUint32(b, uint32(logBytes))
	return be.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// entriesOf checks the trailer of an index file of a log file of logBytes, and
// returns the bytes of its entries.
func entriesOf(b []byte, entrySize int, logBytes int64) ([]byte, error) {
	n := len(b) - indexTrailer
	if n < 0 || n%entrySize != 0 {
		return nil, errIndex
	}
	be, t := binary.BigEndian, b[n:]
	if string(t[:4]) != indexMagic || be.Uint16(t[4:]) != indexVersion || int(be.Uint16(t[6:])) != entrySize ||
		int(be.Uint32(t[8:])) != n/entrySize || int64(be.Uint32(t[12:])) != logBytes ||
		be.Uint32(t[16:]) != crc32.Checksum(b[:len(b)-4], castagnoli) {
		return nil, errIndex
	}
	return b[:n], nil
}

// encode writes the contents of both files for a log file of logBytes.
func (x *indexes) encode(logBytes int64) (offsets, times []byte) {
	be := binary.BigEndian
	offsets = make([]byte, 0, len(x.offsets)*offsetEntrySize+indexTrailer)
	for _, e := range x.offsets {
		offsets = be.AppendUint32(offsets, uint32(e.rel))
		offsets = be.AppendUint32(offsets, uint32(e.pos))
	}
	times = make([]byte, 0, len(x.times)*timeEntrySize+indexTrailer)
	for _, e := range x.times {
		times = be.AppendUint64(times, uint64(e.ts))
		times = be.AppendUint32(times, uint32(e.rel))
	}
	return appendTrailer(offsets, offsetEntrySize, len(x.offsets), logBytes),
		appendTrailer(times, timeEntrySize, len(x.times), logBytes)
}

// decodeIndexes reads both files. What it accepts is in order and lies within
// the log file, even where the CRC was made to fit.
func decodeIndexes(offsets, times []byte, logBytes int64) (*indexes, error) {
	ob, err := entriesOf(offsets, offsetEntrySize, logBytes)
	if err != nil {
		return nil, err
	}
	tb, err := entriesOf(times, timeEntrySize, logBytes)
	if err != nil {
		return nil, err
	}
	be := binary.BigEndian
	x := &indexes{
		offsets: make([]offsetEntry, 0, len(ob)/offsetEntrySize),
		times:   make([]timeEntry, 0, len(tb)/timeEntrySize),
	}
	last := offsetEntry{}
	for ; len(ob) > 0; ob = ob[offsetEntrySize:] {
		e := offsetEntry{int32(be.Uint32(ob)), int32(be.Uint32(ob[4:]))}
		if e.rel <= last.rel || e.pos <= last.pos || int64(e.pos) >= logBytes {
			return nil, errIndex
		}
		last = e
		x.offsets = append(x.offsets, e)
	}
	prev := timeEntry{math.MinInt64, -1}
	for ; len(tb) > 0; tb = tb[timeEntrySize:] {
		e := timeEntry{int64(be.Uint64(tb)), int32(be.Uint32(tb[8:]))}
		if len(x.times) > 0 && e.ts <= prev.ts || e.rel <= prev.rel {
			return nil, errIndex
		}
		prev = e
		x.times = append(x.times, e)
	}
	if logBytes > 0 != (len(x.times) > 0) {
		return nil, errIndex // each segment with a batch has a latest one
	}
	return x, nil
}

// An indexer builds the indexes of a segment as its batches come.
type indexer struct {
	interval int64
	since    int64     // bytes since the last entry
	max      timeEntry // highest timestamp so far and its batch
	any      bool
}

// add takes note of a batch at pos, h.BaseOffset-rel bytes into the segment.
func (b *indexer) add(x *indexes, h *Header, rel int32, pos int64) {
	if b.since > b.interval {
		x.offsets = append(x.offsets, offsetEntry{rel, int32(pos)})
		b.flushTime(x)
		b.since = 0
	}
	b.since += int64(h.Length)
	if !b.any || h.MaxTimestamp > b.max.ts {
		b.max, b.any = timeEntry{h.MaxTimestamp, rel}, true
	}
}

// flushTime enters the highest timestamp, unless that is done. The last one of a
// sealed segment is its maximum.
func (b *indexer) flushTime(x *indexes) {
	if n := len(x.times); b.any && (n == 0 || x.times[n-1].ts < b.max.ts) {
		x.times = append(x.times, b.max)
	}
}
