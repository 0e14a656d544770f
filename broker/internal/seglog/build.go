// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"encoding/binary"
	"hash/crc32"
)

// A Record is one record of a batch.
type Record struct {
	Offset    int64  // set by EachRecord; BuildBatch counts by itself
	Timestamp int64  // ms
	Key       []byte // nil: null
	Value     []byte // nil: null
	Headers   []RecordHeader
}

// A RecordHeader is a name and a value that travel with a record.
type RecordHeader struct {
	Key   string
	Value []byte // nil: null
}

// A BatchOption changes what BuildBatch writes into the header.
type BatchOption interface{ apply(*Header) }

type batchOption func(*Header)

func (o batchOption) apply(h *Header) { o(h) }

// WithProducer makes the batch that of an idempotent producer.
func WithProducer(id int64, epoch int16, baseSequence int32) BatchOption {
	return batchOption(func(h *Header) { h.ProducerID, h.ProducerEpoch, h.BaseSequence = id, epoch, baseSequence })
}

// BuildBatch makes an uncompressed v2 batch of recs, ready for [Log.Append]:
// for the topics that the broker itself writes to. recs must not be empty.
func BuildBatch(recs []Record, opts ...BatchOption) []byte {
	h := Header{LeaderEpoch: -1, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
	for _, o := range opts {
		o.apply(&h)
	}
	h.LastOffsetDelta, h.Records = int32(len(recs)-1), int32(len(recs))
	h.BaseTimestamp, h.MaxTimestamp = recs[0].Timestamp, recs[0].Timestamp
	b := make([]byte, HeaderSize)
	var scratch []byte
	for i := range recs {
		h.MaxTimestamp = max(h.MaxTimestamp, recs[i].Timestamp)
		scratch = appendRecord(scratch[:0], &recs[i], h.BaseTimestamp, i)
		b = binary.AppendVarint(b, int64(len(scratch)))
		b = append(b, scratch...)
	}
	h.Length = len(b)
	putHeader(b, &h)
	return b
}

// putHeader writes h and the CRC over the rest into b, which is the whole batch.
func putHeader(b []byte, h *Header) {
	be := binary.BigEndian
	be.PutUint64(b, uint64(h.BaseOffset))
	be.PutUint32(b[8:], uint32(h.Length-lengthEnd))
	be.PutUint32(b[epochAt:], uint32(h.LeaderEpoch))
	b[magicAt] = 2
	be.PutUint16(b[attrsAt:], uint16(h.Attributes))
	be.PutUint32(b[23:], uint32(h.LastOffsetDelta))
	be.PutUint64(b[27:], uint64(h.BaseTimestamp))
	be.PutUint64(b[35:], uint64(h.MaxTimestamp))
	be.PutUint64(b[43:], uint64(h.ProducerID))
	be.PutUint16(b[51:], uint16(h.ProducerEpoch))
	be.PutUint32(b[53:], uint32(h.BaseSequence))
	be.PutUint32(b[57:], uint32(h.Records))
	be.PutUint32(b[crcAt:], crc32.Checksum(b[attrsAt:], castagnoli))
}

// appendRecord appends a record without its length.
func appendRecord(dst []byte, r *Record, base int64, delta int) []byte {
	dst = append(dst, 0) // attributes: none are defined
	dst = binary.AppendVarint(dst, r.Timestamp-base)
	dst = binary.AppendVarint(dst, int64(delta))
	dst = appendNullable(dst, r.Key)
	dst = appendNullable(dst, r.Value)
	dst = binary.AppendVarint(dst, int64(len(r.Headers)))
	for _, h := range r.Headers {
		dst = binary.AppendVarint(dst, int64(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = appendNullable(dst, h.Value)
	}
	return dst
}

func appendNullable(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	dst = binary.AppendVarint(dst, int64(len(b)))
	return append(dst, b...)
}
