// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A walker goes over the batches of a segment by their headers. It takes nothing
// that the file says on trust: not lengths, not offsets.
type walker struct {
	seg  *segment
	pos  int64 // of the next batch
	want int64 // its offset, or that of one before it that a compaction took away
	end  int64 // bytes of the file

	sparse int64 // batches below it may have lost some before them to a compaction

	window []byte // bytes of the file from at on
	at     int64
	buf    []byte
}

// What a walker reads at once: for a look-up several small batches or the header
// of a long one, for a scan of a whole file as much as makes the calls cheap.
const (
	lookupWindow = 8 << 10
	scanWindow   = 256 << 10
)

// newWalker walks from the batch at pos, whose offset must be want, to end. The
// caller has acquired s.
func newWalker(s *segment, pos, want, end int64, window int) *walker {
	return &walker{
		seg: s, pos: pos, want: want, end: end, sparse: s.log.sparse.Load(),
		buf: make([]byte, min(int64(window), max(0, end-pos))),
	}
}

// follows tells whether a batch at base may come where want is the next offset.
// Offsets are dense but for what a compaction took away, and that is below sparse.
func follows(base, want, sparse int64) bool {
	return base == want || base > want && base < sparse
}

// next returns the header of the next batch and its position. At the end it is
// io.EOF; damage is a *CorruptError, after which the walker stays where it is.
func (w *walker) next() (Header, int64, error) {
	if w.pos >= w.end {
		return Header{}, w.pos, io.EOF
	}
	if w.end-w.pos < HeaderSize {
		return Header{}, w.pos, w.damage(fmt.Errorf("%d bytes are no header", w.end-w.pos))
	}
	b, err := w.bytes(w.pos, HeaderSize)
	if err != nil {
		return Header{}, w.pos, err
	}
	h, err := ParseHeader(b)
	switch {
	case err != nil:
		return h, w.pos, w.damage(err)
	case !follows(h.BaseOffset, w.want, w.sparse):
		return h, w.pos, w.damage(fmt.Errorf("base offset is %d", h.BaseOffset))
	case int64(h.Length) > w.end-w.pos:
		return h, w.pos, w.damage(fmt.Errorf("%d bytes of a batch of %d", w.end-w.pos, h.Length))
	case h.NextOffset()-w.seg.base > maxRelative || w.pos > maxRelative:
		return h, w.pos, w.damage(fmt.Errorf("offset %d is too far into the segment", h.LastOffset()))
	}
	pos := w.pos
	w.pos, w.want = pos+int64(h.Length), h.NextOffset()
	return h, pos, nil
}

// checkCRC reads the whole batch h, which next returned with pos.
func (w *walker) checkCRC(h *Header, pos int64) error {
	var crc uint32
	for at, end := pos+attrsAt, pos+int64(h.Length); at < end; {
		b, err := w.bytes(at, int(min(end-at, int64(len(w.buf)))))
		if err != nil {
			return err
		}
		crc = crc32.Update(crc, castagnoli, b)
		at += int64(len(b))
	}
	if crc != h.CRC {
		w.pos, w.want = pos, h.BaseOffset
		return w.damage(fmt.Errorf("%w: CRC-32C is %08x, the header says %08x", ErrCorruptBatch, crc, h.CRC))
	}
	return nil
}

// bytes returns n bytes at pos, at most a window: valid until the next call.
func (w *walker) bytes(pos int64, n int) ([]byte, error) {
	if pos < w.at || pos+int64(n) > w.at+int64(len(w.window)) {
		got, err := w.seg.file().ReadAt(w.buf[:min(int64(len(w.buf)), w.end-pos)], pos)
		w.at, w.window = pos, w.buf[:got]
		if got < n {
			if err == nil || errors.Is(err, io.EOF) {
				return nil, w.damage(io.ErrUnexpectedEOF)
			}
			return nil, fmt.Errorf("read %s at %d: %w", w.seg.path, pos, err)
		}
	}
	from := int(pos - w.at)
	return w.window[from : from+n], nil
}

func (w *walker) damage(cause error) error {
	return &CorruptError{File: w.seg.path, Position: w.pos, Offset: w.want, Cause: cause}
}
