// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// A Packing says how batches are to be stored. The zero value: as they come.
type Packing struct {
	Repack bool // pack what comes with another codec anew
	Codec  Codec
	Level  int // of gzip (-1: its default), of LZ4 (1 to 17) and of zstd (its own scale)
}

// Pack returns batch, which a client has sent, packed with the codec of p: batch
// itself if it has that already. Each record is looked at on the way. The result
// is at most maxBytes long. Memory is bounded by that and by one record, time by
// what decompression is bounded by.
//
// Errors: those of [ValidateBatch] and of [EachRecord].
func (p Packing) Pack(batch []byte, maxBytes int) ([]byte, error) {
	h, err := ValidateBatch(batch, len(batch))
	if err != nil {
		return nil, err
	}
	if !p.Repack || h.Codec() == p.Codec {
		return batch, nil
	}
	out := &bounded{b: make([]byte, HeaderSize, min(len(batch)*2, maxBytes)), max: maxBytes}
	w, err := p.compressor(out)
	if err != nil {
		return nil, err
	}
	if err := repack(w, &h, batch); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	h.Length = len(out.b)
	h.Attributes = h.Attributes&^7 | int16(p.Codec)
	putHeader(out.b, &h)
	return out.b, nil
}

// repack writes the records of batch to w, and their highest timestamp into h.
func repack(w io.Writer, h *Header, batch []byte) error {
	var length, rec []byte
	n, highest := 0, h.BaseTimestamp
	err := EachRecord(batch, func(r Record) error {
		if n == 0 || r.Timestamp > highest {
			highest = r.Timestamp
		}
		if r.Offset != h.BaseOffset+int64(n) {
			return fmt.Errorf("%w: offset delta of record %d", ErrInvalidRecord, n)
		}
		rec = appendRecord(rec[:0], &r, h.BaseTimestamp, n)
		length = binary.AppendVarint(length[:0], int64(len(rec)))
		n++
		if _, err := w.Write(length); err != nil {
			return err
		}
		_, err := w.Write(rec)
		return err
	})
	h.MaxTimestamp = highest
	return err
}

// bounded collects bytes, up to max of them.
type bounded struct {
	b   []byte
	max int
}

func (w *bounded) Write(p []byte) (int, error) {
	if len(w.b)+len(p) > w.max {
		return 0, fmt.Errorf("%w: more than %d bytes when packed anew", ErrTooLarge, w.max)
	}
	w.b = append(w.b, p...)
	return len(p), nil
}

// packBlock is how many bytes LZ4 and snappy pack at a time, as Kafka does.
const (
	lz4Block    = lz4.Block64Kb
	snappyBlock = 32 << 10
	lz4Fast     = 9 // Kafka's default level stands for LZ4's fast method
)

// compressor returns a writer that packs into out what it is given until Close.
func (p Packing) compressor(out io.Writer) (io.WriteCloser, error) {
	switch p.Codec {
	case CodecNone:
		return plain{out}, nil
	case CodecGzip:
		return gzip.NewWriterLevel(out, p.Level)
	case CodecSnappy:
		return newSnappyWriter(out)
	case CodecLZ4:
		w := lz4.NewWriter(out)
		level := lz4.Fast
		if p.Level != lz4Fast {
			level = lz4.Level1 << min(max(p.Level-1, 0), 8)
		}
		return w, w.Apply(lz4.BlockSizeOption(lz4Block), lz4.CompressionLevelOption(level), lz4.ConcurrencyOption(1))
	case CodecZstd:
		return zstd.NewWriter(out, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
			zstd.WithWindowSize(zstdWindow), zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(p.Level)))
	default:
		return nil, fmt.Errorf("%w %d", ErrBadCodec, p.Codec)
	}
}

const zstdWindow = 1 << 20

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

// A snappyWriter packs in xerial's framing, which all clients read.
type snappyWriter struct {
	out        io.Writer
	block, buf []byte
}

func newSnappyWriter(out io.Writer) (*snappyWriter, error) {
	head := append([]byte(nil), xerial...)
	head = binary.BigEndian.AppendUint32(head, 1) // version, and the lowest that can read it
	head = binary.BigEndian.AppendUint32(head, 1)
	_, err := out.Write(head)
	return &snappyWriter{out: out, block: make([]byte, 0, snappyBlock)}, err
}

func (w *snappyWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		take := min(len(p), snappyBlock-len(w.block))
		w.block, p = append(w.block, p[:take]...), p[take:]
		if len(w.block) == snappyBlock {
			if err := w.Close(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// Close writes what was collected as a block.
func (w *snappyWriter) Close() error {
	if len(w.block) == 0 {
		return nil
	}
	w.buf = snappy.Encode(w.buf[:cap(w.buf)], w.block)
	w.block = w.block[:0]
	if _, err := w.out.Write(binary.BigEndian.AppendUint32(nil, uint32(len(w.buf)))); err != nil {
		return err
	}
	_, err := w.out.Write(w.buf)
	return err
}

// stamp gives all records of a batch the time of its append, as Kafka does: by
// its header alone.
func stamp(batch []byte, h *Header, nowMs int64) {
	h.MaxTimestamp, h.Attributes = nowMs, h.Attributes|logAppendTime
	binary.BigEndian.PutUint16(batch[attrsAt:], uint16(h.Attributes))
	binary.BigEndian.PutUint64(batch[maxTimestampAt:], uint64(nowMs))
	h.CRC = crc32.Checksum(batch[attrsAt:h.Length], castagnoli)
	binary.BigEndian.PutUint32(batch[crcAt:], h.CRC)
}
