// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	maxRecordBytes = 64 << 20 // of one record, decompressed
	maxBatchMemory = 1 << 30  // of all records of a batch, decompressed: they stream, so this bounds work, not memory
)

// EachRecord calls fn for each record of batch, in order, and returns fn's first
// error as it is. The slices of a Record are valid until fn returns. The CRC is not
// checked. All codecs are read, snappy both raw and in xerial's framing. Memory is
// bounded by the longest record (at most 64 MiB) whatever the batch claims. Errors:
// [ErrCorruptBatch], [ErrUnsupportedMagic], [ErrBadCodec], [ErrInvalidRecord].
func EachRecord(batch []byte, fn func(Record) error) error {
	h, err := ParseHeader(batch)
	if err != nil {
		return err
	}
	if h.Length > len(batch) {
		return fmt.Errorf("%w: %d bytes of a batch of %d", ErrCorruptBatch, len(batch), h.Length)
	}
	body := batch[HeaderSize:h.Length]
	if h.Codec() == CodecNone {
		return eachPlain(&h, body, fn)
	}
	r, closeReader, err := decompressor(h.Codec(), body)
	if err != nil {
		return err
	}
	defer closeReader()
	return eachStreamed(&h, r, fn)
}

// eachPlain reads the records of an uncompressed batch where they lie.
func eachPlain(h *Header, body []byte, fn func(Record) error) error {
	var rec Record
	for i := range h.Records {
		size, w := varint(body)
		if w <= 0 || size < 0 || size > int64(len(body)-w) {
			return fmt.Errorf("%w: length of record %d", ErrInvalidRecord, i)
		}
		if err := rec.parse(h, body[w:w+int(size)]); err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
		if err := fn(rec); err != nil {
			return err
		}
		body = body[w+int(size):]
	}
	return nil
}

// eachStreamed reads the records of a decompressed stream, one at a time.
func eachStreamed(h *Header, r io.Reader, fn func(Record) error) error {
	br := bufio.NewReader(io.LimitReader(r, maxBatchMemory))
	var rec Record
	var buf bytes.Buffer // grows with what is there, not with what a length claims
	for i := range h.Records {
		size, err := binary.ReadVarint(br)
		if err != nil {
			return fmt.Errorf("%w: record %d: %w", ErrInvalidRecord, i, unexpected(err))
		}
		if size < 0 || size > maxRecordBytes {
			return fmt.Errorf("%w: record %d of %d bytes", ErrInvalidRecord, i, size)
		}
		buf.Reset()
		if _, err := io.CopyN(&buf, br, size); err != nil {
			return fmt.Errorf("%w: record %d: %w", ErrInvalidRecord, i, unexpected(err))
		}
		if err := rec.parse(h, buf.Bytes()); err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
		if err := fn(rec); err != nil {
			return err
		}
	}
	return nil
}

// unexpected says io.EOF in the middle of something as what it is.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parse reads a record without its length; r's slices alias b.
func (r *Record) parse(h *Header, b []byte) error {
	d := decoder{b: b}
	d.skip(1)
	timestampDelta, offsetDelta := d.varint(), d.varint()
	r.Timestamp, r.Offset = h.BaseTimestamp+timestampDelta, h.BaseOffset+offsetDelta
	if h.LogAppendTime() {
		r.Timestamp = h.MaxTimestamp
	}
	if offsetDelta < 0 || offsetDelta > int64(h.LastOffsetDelta) {
		d.bad = true
	}
	r.Key, r.Value, r.Headers = d.nullable(), d.nullable(), r.Headers[:0]
	n := d.varint()
	if n < 0 || n > int64(len(d.b)) { // a header takes two bytes at least
		d.bad = true
	}
	for i := int64(0); i < n && !d.bad; i++ {
		key, value := d.nullable(), d.nullable()
		d.bad = d.bad || key == nil
		r.Headers = append(r.Headers, RecordHeader{Key: string(key), Value: value})
	}
	if d.bad || len(d.b) != 0 {
		return fmt.Errorf("%w: malformed record", ErrInvalidRecord)
	}
	return nil
}

// A decoder reads from b; after the first mistake it is bad and reads zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) skip(n int) []byte {
	if d.bad || n < 0 || n > len(d.b) {
		d.bad = true
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) varint() int64 {
	v, w := varint(d.b)
	if d.bad || w <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[w:]
	return v
}

// nullable reads a length and as many bytes; -1 is nil.
func (d *decoder) nullable() []byte {
	n := d.varint()
	if n == -1 || d.bad {
		return nil
	}
	if n < 0 || n > int64(len(d.b)) {
		d.bad = true
		return nil
	}
	return d.skip(int(n))
}
