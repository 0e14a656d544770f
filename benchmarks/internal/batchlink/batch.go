// SPDX-License-Identifier: Apache-2.0

package batchlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link"
)

// A batch of format 2, big endian:
//
//	 0 base offset int64 | 8 length int32 | 12 leader epoch int32 | 16 magic int8
//	17 crc uint32 | 21 attributes int16 | 23 last offset delta int32
//	27 first timestamp int64 | 35 max timestamp int64
//	43 producer id int64 | 51 producer epoch int16 | 53 base sequence int32 | 57 records int32
const headBytes = 61

const (
	attrCodec   = 0x07
	attrLogTime = 0x08
	attrControl = 0x20
)

// recordCost is the memory of a record besides its bytes, as the real link counts it.
const recordCost = 96

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errShort   = errors.New("a batch is shorter than it says")
)

// decode appends the records of fetched batches from offset next on to b, and returns
// the offset after the last. An incomplete batch at the end is left out. The records'
// bytes are those of src, unless they were compressed.
func decode(b *link.Batch, src []byte, next int64, decomp kgo.Decompressor) (int64, error) {
	count := 0
	for s := src; len(s) >= headBytes; {
		n := 12 + int(int32(binary.BigEndian.Uint32(s[8:])))
		if n < headBytes || n > len(s) {
			break
		}
		count += min(int(binary.BigEndian.Uint32(s[57:])), n) // a record has more than a byte
		s = s[n:]
	}
	b.Records = make([]plan.Raw, 0, count)
	for len(src) >= headBytes {
		n := 12 + int(int32(binary.BigEndian.Uint32(src[8:])))
		if n < headBytes {
			return next, errShort
		}
		if n > len(src) {
			break
		}
		head, records := src[:headBytes], src[headBytes:n]
		src = src[n:]
		sum := crc32.Update(crc32.Checksum(head[21:], castagnoli), castagnoli, records)
		if sum != binary.BigEndian.Uint32(head[17:]) {
			return next, errors.New("the checksum of a batch is wrong")
		}
		first := int64(binary.BigEndian.Uint64(head))
		after := first + int64(int32(binary.BigEndian.Uint32(head[23:]))) + 1
		attrs := binary.BigEndian.Uint16(head[21:])
		if attrs&attrControl == 0 && after > next {
			if codec := attrs & attrCodec; codec != 0 {
				var err error
				if records, err = decomp.Decompress(records, kgo.CompressionCodecType(codec)); err != nil {
					return next, fmt.Errorf("decompress: %w", err)
				}
			}
			if err := decodeRecords(b, head, records, next); err != nil {
				return next, err
			}
		}
		next = max(next, after)
	}
	return next, nil
}

func decodeRecords(b *link.Batch, head, src []byte, next int64) error {
	first, epoch := int64(binary.BigEndian.Uint64(head)), int32(binary.BigEndian.Uint32(head[12:]))
	firstTime, maxTime := int64(binary.BigEndian.Uint64(head[27:])), int64(binary.BigEndian.Uint64(head[35:]))
	logTime := binary.BigEndian.Uint16(head[21:])&attrLogTime != 0
	for range binary.BigEndian.Uint32(head[57:]) {
		r := reader{src: src}
		length := r.varint()
		if r.failed || length < 0 || length > int64(len(r.src)) {
			return errShort
		}
		src = r.src[length:]
		r.src = r.src[:length]
		r.skip(1)
		raw := plan.Raw{Timestamp: firstTime + r.varint(), Offset: first + r.varint(), Epoch: epoch}
		if logTime {
			raw.Timestamp = maxTime
		}
		raw.Key, raw.Value = r.bytes(), r.bytes()
		for range r.varint() {
			raw.Headers = append(raw.Headers, plan.Header{Key: string(r.bytes()), Value: r.bytes()})
			if r.failed {
				break
			}
		}
		if r.failed {
			return errShort
		}
		if raw.Offset >= next {
			b.Records = append(b.Records, raw)
			b.Bytes += recordCost + int64(len(raw.Key)+len(raw.Value))
		}
	}
	return nil
}

type reader struct {
	src    []byte
	failed bool
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.src)
	if n <= 0 {
		r.failed = true
		return 0
	}
	r.src = r.src[n:]
	return v
}

func (r *reader) skip(n int) {
	if n > len(r.src) {
		r.failed = true
		return
	}
	r.src = r.src[n:]
}

// bytes are nil where the length is -1.
func (r *reader) bytes() []byte {
	n := r.varint()
	if n < 0 {
		return nil
	}
	if n > int64(len(r.src)) {
		r.failed = true
		return nil
	}
	b := r.src[:n:n]
	r.src = r.src[n:]
	return b
}

// batch is one that is being filled.
type batch struct {
	dest    *link.Dest
	topic   string
	id      [16]byte
	num     int32
	buf     []byte // the head, to be filled in, and records
	first   int64  // timestamp
	latest  int64  // timestamp
	records int32
}

// add encodes a record.
func (b *batch) add(key, value []byte, timestamp int64, headers []plan.Header) {
	if b.records == 0 {
		b.first, b.latest = timestamp, timestamp
		b.buf = append(b.buf[:0], make([]byte, headBytes)...)
	}
	b.latest = max(b.latest, timestamp)
	n := 1 + varintLen(timestamp-b.first) + varintLen(int64(b.records)) + bytesLen(key) + bytesLen(value) + varintLen(int64(len(headers)))
	for _, h := range headers {
		n += varintLen(int64(len(h.Key))) + len(h.Key) + bytesLen(h.Value)
	}
	dst := binary.AppendVarint(b.buf, int64(n))
	dst = append(dst, 0)
	dst = binary.AppendVarint(dst, timestamp-b.first)
	dst = binary.AppendVarint(dst, int64(b.records))
	dst = appendBytes(appendBytes(dst, key), value)
	dst = binary.AppendVarint(dst, int64(len(headers)))
	for _, h := range headers {
		dst = append(binary.AppendVarint(dst, int64(len(h.Key))), h.Key...)
		dst = appendBytes(dst, h.Value)
	}
	b.buf = dst
	b.records++
}

func varintLen(v int64) int { return (bits.Len64(uint64(v<<1^v>>63)|1) + 6) / 7 }

func bytesLen(b []byte) int {
	if b == nil {
		return 1
	}
	return varintLen(int64(len(b))) + len(b)
}

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}

// finish fills in the head.
func (b *batch) finish(producer int64, epoch int16, sequence int32) {
	h := b.buf
	binary.BigEndian.PutUint64(h, 0)
	binary.BigEndian.PutUint32(h[8:], uint32(len(h)-12))
	binary.BigEndian.PutUint32(h[12:], ^uint32(0))
	h[16] = 2
	binary.BigEndian.PutUint16(h[21:], 0)
	binary.BigEndian.PutUint32(h[23:], uint32(b.records-1))
	binary.BigEndian.PutUint64(h[27:], uint64(b.first))
	binary.BigEndian.PutUint64(h[35:], uint64(b.latest))
	binary.BigEndian.PutUint64(h[43:], uint64(producer))
	binary.BigEndian.PutUint16(h[51:], uint16(epoch))
	binary.BigEndian.PutUint32(h[53:], uint32(sequence))
	binary.BigEndian.PutUint32(h[57:], uint32(b.records))
	binary.BigEndian.PutUint32(h[17:], crc32.Checksum(h[21:], castagnoli))
}
