// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

// The layout of a v2 record batch, all big endian:
//
//	0  base offset     int64   assigned by the log
//	8  batch length    int32   bytes after this field
//	12 leader epoch    int32   assigned by the log
//	16 magic           int8    2
//	17 CRC-32C         uint32  of all that follows
//	21 attributes      int16   codec 0-2, log append time 3, transactional 4, control 5, delete horizon 6
//	23 last offset delta int32
//	27 base timestamp  int64   ms
//	35 max timestamp   int64   ms
//	43 producer id     int64   -1: none
//	51 producer epoch  int16
//	53 base sequence   int32
//	57 records         int32   count
//	61 the records, compressed as a whole
const (
	HeaderSize = 61 // bytes of a batch before its records

	lengthEnd = 12 // the batch length counts from here
	epochAt   = 12
	magicAt   = 16
	crcAt     = 17
	attrsAt   = 21

	maxTimestampAt = 35

	logAppendTime = 1 << 3 // of the attributes
	deleteHorizon = 1 << 6 // of the attributes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Codec is how the records of a batch are compressed: the low three bits of its attributes.
type Codec uint8

// The codecs of Kafka.
const (
	CodecNone Codec = iota
	CodecGzip
	CodecSnappy // raw or in xerial's framing
	CodecLZ4    // LZ4 frames
	CodecZstd
)

// A Header is the fixed part of a v2 record batch.
type Header struct {
	BaseOffset      int64
	Length          int // bytes of the whole batch, header included
	LeaderEpoch     int32
	CRC             uint32
	Attributes      int16
	LastOffsetDelta int32
	BaseTimestamp   int64 // ms
	MaxTimestamp    int64 // ms
	ProducerID      int64 // -1: none
	ProducerEpoch   int16
	BaseSequence    int32
	Records         int32 // as claimed: never allocate by it
}

// LastOffset is the offset of the batch's last record.
func (h *Header) LastOffset() int64 { return h.BaseOffset + int64(h.LastOffsetDelta) }

// NextOffset is the offset after the batch.
func (h *Header) NextOffset() int64 { return h.LastOffset() + 1 }

// Codec is how the records are compressed.
func (h *Header) Codec() Codec { return Codec(h.Attributes & 7) }

// LogAppendTime reports whether MaxTimestamp, set by a broker, is the time of all records.
func (h *Header) LogAppendTime() bool { return h.Attributes&logAppendTime != 0 }

// Transactional reports whether the batch belongs to a transaction.
func (h *Header) Transactional() bool { return h.Attributes&(1<<4) != 0 }

// Control reports whether the batch holds a transaction marker.
func (h *Header) Control() bool { return h.Attributes&(1<<5) != 0 }

// HasDeleteHorizon reports whether BaseTimestamp is the time from which on a compaction
// may remove the batch's tombstones.
func (h *Header) HasDeleteHorizon() bool { return h.Attributes&deleteHorizon != 0 }

// ParseHeader reads the header at the start of b, which may be longer or
// shorter than the batch. It checks that the header makes sense by itself,
// not the CRC. Errors: [ErrCorruptBatch], [ErrUnsupportedMagic].
func ParseHeader(b []byte) (Header, error) {
	if len(b) <= magicAt {
		return Header{}, fmt.Errorf("%w: %d bytes are no batch", ErrCorruptBatch, len(b))
	}
	if magic := int8(b[magicAt]); magic != 2 {
		if magic == 0 || magic == 1 {
			return Header{}, fmt.Errorf("%w: magic %d", ErrUnsupportedMagic, magic)
		}
		return Header{}, fmt.Errorf("%w: magic %d", ErrCorruptBatch, magic)
	}
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("%w: %d bytes are no header", ErrCorruptBatch, len(b))
	}
	be := binary.BigEndian
	length := int32(be.Uint32(b[8:]))
	h := Header{
		BaseOffset:      int64(be.Uint64(b)),
		Length:          lengthEnd + int(length),
		LeaderEpoch:     int32(be.Uint32(b[epochAt:])),
		CRC:             be.Uint32(b[crcAt:]),
		Attributes:      int16(be.Uint16(b[attrsAt:])),
		LastOffsetDelta: int32(be.Uint32(b[23:])),
		BaseTimestamp:   int64(be.Uint64(b[27:])),
		MaxTimestamp:    int64(be.Uint64(b[35:])),
		ProducerID:      int64(be.Uint64(b[43:])),
		ProducerEpoch:   int16(be.Uint16(b[51:])),
		BaseSequence:    int32(be.Uint32(b[53:])),
		Records:         int32(be.Uint32(b[57:])),
	}
	if length < HeaderSize-lengthEnd || length > math.MaxInt32-lengthEnd {
		return Header{}, fmt.Errorf("%w: batch length %d", ErrCorruptBatch, length)
	}
	if h.LastOffsetDelta < 0 || h.Records < 0 || h.BaseOffset < 0 || h.BaseOffset > math.MaxInt64-math.MaxInt32-1 {
		return Header{}, fmt.Errorf("%w: base offset %d, last offset delta %d, %d records",
			ErrCorruptBatch, h.BaseOffset, h.LastOffsetDelta, h.Records)
	}
	return h, nil
}

// checkCRC compares the CRC of a whole batch with that in its header.
func checkCRC(batch []byte, h *Header) error {
	if crc := crc32.Checksum(batch[attrsAt:h.Length], castagnoli); crc != h.CRC {
		return fmt.Errorf("%w: CRC-32C is %08x, the header says %08x", ErrCorruptBatch, crc, h.CRC)
	}
	return nil
}

// ValidateBatch checks one v2 batch as a client sent it: all of b, and nothing
// else, is the batch. The records of a compressed batch are not looked into. Errors:
// [ErrCorruptBatch], [ErrUnsupportedMagic], [ErrBadCodec], [ErrInvalidRecord],
// and [ErrTooLarge] over maxBytes.
func ValidateBatch(b []byte, maxBytes int) (Header, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return h, err
	}
	switch {
	case h.Length > len(b):
		return h, fmt.Errorf("%w: %d bytes of a batch of %d", ErrCorruptBatch, len(b), h.Length)
	case h.Length > maxBytes:
		return h, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, h.Length, maxBytes)
	case h.Length < len(b):
		return h, fmt.Errorf("%w: %d bytes follow the batch", ErrInvalidRecord, len(b)-h.Length)
	}
	if err := checkCRC(b, &h); err != nil {
		return h, err
	}
	if h.Codec() > CodecZstd {
		return h, fmt.Errorf("%w %d", ErrBadCodec, h.Codec())
	}
	if err := checkClient(&h); err != nil {
		return h, err
	}
	if h.Codec() == CodecNone {
		err = checkRecords(b[HeaderSize:], h.Records)
	}
	return h, err
}

// checkClient refuses what only a broker may write.
func checkClient(h *Header) error {
	switch {
	case h.Records == 0 || int64(h.Records) != int64(h.LastOffsetDelta)+1:
		return fmt.Errorf("%w: %d records, last offset delta %d", ErrInvalidRecord, h.Records, h.LastOffsetDelta)
	case h.Control():
		return fmt.Errorf("%w: a control batch from a client", ErrInvalidRecord)
	case h.LogAppendTime():
		return fmt.Errorf("%w: log append time from a client", ErrInvalidRecord)
	case h.HasDeleteHorizon():
		return fmt.Errorf("%w: a delete horizon from a client", ErrInvalidRecord)
	case h.ProducerID >= 0 && (h.BaseSequence < 0 || h.ProducerEpoch < 0):
		return fmt.Errorf("%w: producer %d with epoch %d, sequence %d",
			ErrInvalidRecord, h.ProducerID, h.ProducerEpoch, h.BaseSequence)
	case h.Transactional() && h.ProducerID < 0:
		return fmt.Errorf("%w: transactional without a producer id", ErrInvalidRecord)
	}
	return nil
}

// checkRecords checks that b is exactly n records with offset deltas 0, 1, ...
func checkRecords(b []byte, n int32) error {
	for i := range n {
		size, w := varint(b)
		if w <= 0 || size < 0 || size > int64(len(b)-w) {
			return fmt.Errorf("%w: length of record %d", ErrInvalidRecord, i)
		}
		rec := b[w : w+int(size)]
		b = b[w+int(size):]
		if len(rec) == 0 {
			return fmt.Errorf("%w: record %d is empty", ErrInvalidRecord, i)
		}
		_, tw := varint(rec[1:])
		if tw <= 0 {
			return fmt.Errorf("%w: timestamp of record %d", ErrInvalidRecord, i)
		}
		if delta, dw := varint(rec[1+tw:]); dw <= 0 || delta != int64(i) {
			return fmt.Errorf("%w: offset delta of record %d", ErrInvalidRecord, i)
		}
	}
	if len(b) != 0 {
		return fmt.Errorf("%w: %d bytes follow the last record", ErrInvalidRecord, len(b))
	}
	return nil
}

// varint reads a zig-zag varint and its width, which is <= 0 if there is none.
func varint(b []byte) (int64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return int64(b[0]>>1) ^ -int64(b[0]&1), 1
	}
	return binary.Varint(b)
}
