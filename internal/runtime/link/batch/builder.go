// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/bits"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/plan"
)

// A Builder makes one batch after another, in the same memory. The zero value is ready.
type Builder struct {
	buf     []byte // the head, to be filled in, and records
	first   int64  // timestamp
	latest  int64  // timestamp
	records int32
}

// Records is how many records there are so far.
func (b *Builder) Records() int32 { return b.records }

// Len is the size so far in bytes, not compressed.
func (b *Builder) Len() int { return len(b.buf) }

// Cap is the memory that it holds, in bytes.
func (b *Builder) Cap() int { return cap(b.buf) }

// Reset empties it.
func (b *Builder) Reset() { b.buf, b.records = b.buf[:0], 0 }

// Add encodes a record. Nil is a null. Nothing of what is given is kept.
func (b *Builder) Add(key, value []byte, timestamp int64, headers []plan.Header) {
	if b.records == 0 {
		b.first, b.latest = timestamp, timestamp
		b.buf = append(b.buf[:0], make([]byte, headBytes)...)
	}
	b.latest = max(b.latest, timestamp)
	delta := timestamp - b.first
	n := 1 + varintLen(delta) + varintLen(int64(b.records)) + bytesLen(key) + bytesLen(value) + varintLen(int64(len(headers)))
	for i := range headers {
		n += varintLen(int64(len(headers[i].Key))) + len(headers[i].Key) + bytesLen(headers[i].Value)
	}
	dst := appendVarint(b.buf, int64(n))
	dst = append(dst, 0)
	dst = appendVarint(dst, delta)
	dst = appendVarint(dst, int64(b.records))
	dst = appendBytes(appendBytes(dst, key), value)
	dst = appendVarint(dst, int64(len(headers)))
	for i := range headers {
		dst = append(appendVarint(dst, int64(len(headers[i].Key))), headers[i].Key...)
		dst = appendBytes(dst, headers[i].Value)
	}
	b.buf = dst
	b.records++
}

// A Producer is who a batch is from, for the broker to know it again (KIP-98).
type Producer struct {
	ID    int64
	Epoch int16
}

// A Scratch is memory that batches are compressed in, one after the other.
type Scratch struct {
	packed bytes.Buffer
	out    []byte
}

// Finish gives the batch that has been added, compressed if that makes it smaller. Its bytes
// are the builder's until Reset, or the scratch's until its next use. Without a compressor, nil,
// the scratch may be nil as well.
func (b *Builder) Finish(p Producer, sequence int32, comp kgo.Compressor, s *Scratch) []byte {
	h, codec := b.buf, kgo.CodecNone
	if comp != nil {
		s.packed.Reset()
		packed, with := comp.Compress(&s.packed, h[headBytes:])
		if with > kgo.CodecNone && len(packed) < len(h)-headBytes {
			s.out = append(append(s.out[:0], h[:headBytes]...), packed...)
			h, codec = s.out, with
		}
	}
	clear(h[:8]) // base offset
	binary.BigEndian.PutUint32(h[8:], uint32(len(h)-lengthAfter))
	binary.BigEndian.PutUint32(h[12:], ^uint32(0)) // leader epoch: the broker's to fill in
	h[16] = magic
	binary.BigEndian.PutUint16(h[21:], uint16(codec))
	binary.BigEndian.PutUint32(h[23:], uint32(b.records-1))
	binary.BigEndian.PutUint64(h[27:], uint64(b.first))
	binary.BigEndian.PutUint64(h[35:], uint64(b.latest))
	binary.BigEndian.PutUint64(h[43:], uint64(p.ID))
	binary.BigEndian.PutUint16(h[51:], uint16(p.Epoch))
	binary.BigEndian.PutUint32(h[53:], uint32(sequence))
	binary.BigEndian.PutUint32(h[57:], uint32(b.records))
	binary.BigEndian.PutUint32(h[17:], crc32.Checksum(h[21:], castagnoli))
	return h
}

func varintLen(v int64) int { return (bits.Len64(uint64(v<<1^v>>63)|1) + 6) / 7 }

func bytesLen(b []byte) int {
	if b == nil {
		return 1
	}
	return varintLen(int64(len(b))) + len(b)
}

func appendVarint(dst []byte, v int64) []byte {
	if v >= 0 && v < 64 { // most are short
		return append(dst, byte(v<<1))
	}
	return binary.AppendVarint(dst, v)
}

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return append(dst, 1) // -1
	}
	return append(appendVarint(dst, int64(len(b))), b...)
}
