// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

const (
	maxZstdWindow = 64 << 20  // bytes a zstd frame may ask the decoder to keep
	maxSnappyGain = 64        // no snappy block unpacks to more than its length times this
	maxSnappyRaw  = 128 << 20 // a raw block is unpacked as a whole
)

// decompressor returns a reader of body unpacked, and what frees it. How much
// memory it takes is bounded by the constants above, not by body.
func decompressor(c Codec, body []byte) (io.Reader, func(), error) {
	src := bytes.NewReader(body)
	switch c {
	case CodecNone:
		return src, func() {}, nil
	case CodecGzip:
		r, err := gzip.NewReader(src)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrInvalidRecord, unexpected(err))
		}
		return r, func() {}, nil
	case CodecSnappy:
		r, err := newSnappyReader(body)
		return r, func() {}, err
	case CodecLZ4:
		return lz4.NewReader(src), func() {}, nil
	case CodecZstd:
		r, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(maxBatchMemory), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrInvalidRecord, unexpected(err))
		}
		return r, r.Close, nil
	}
	return nil, nil, fmt.Errorf("%w %d", ErrBadCodec, c)
}

// xerial is how the Java client's library begins: a magic of 8 bytes, a version
// and a lowest compatible version of 4 bytes each; then blocks, each behind its length.
var xerial = []byte("\x82SNAPPY\x00")

const xerialHeader = 16

// A snappyReader unpacks blocks one at a time.
type snappyReader struct {
	src    []byte // packed, what is left
	framed bool
	block  []byte // unpacked, what is left
	buf    []byte
}

func newSnappyReader(body []byte) (*snappyReader, error) {
	if !bytes.HasPrefix(body, xerial) {
		return &snappyReader{src: body}, nil
	}
	if len(body) < xerialHeader {
		return nil, fmt.Errorf("%w: snappy header of %d bytes", ErrInvalidRecord, len(body))
	}
	return &snappyReader{src: body[xerialHeader:], framed: true}, nil
}

func (r *snappyReader) Read(p []byte) (int, error) {
	for len(r.block) == 0 {
		if len(r.src) == 0 {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.block)
	r.block = r.block[n:]
	return n, nil
}

// next unpacks one block.
func (r *snappyReader) next() error {
	packed := r.src
	if r.framed {
		if len(packed) < 4 {
			return io.ErrUnexpectedEOF
		}
		n := int64(binary.BigEndian.Uint32(packed))
		if n > int64(len(packed)-4) {
			return io.ErrUnexpectedEOF
		}
		packed = packed[4 : 4+n]
		r.src = r.src[4+n:]
	} else {
		r.src = nil
	}
	size, err := snappy.DecodedLen(packed)
	if err != nil {
		return err
	}
	if size > maxSnappyRaw || int64(size) > int64(len(packed))*maxSnappyGain {
		return fmt.Errorf("snappy block of %d bytes claims %d", len(packed), size)
	}
	r.buf, err = snappy.Decode(r.buf[:cap(r.buf)], packed)
	r.block = r.buf
	return err
}
