// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/millrace/millrace/internal/vfs"
)

// A Slice is a piece of a log where it lies on the disk: whole batches of one
// segment, as stored. Its bytes never change, and stay until Release even if the
// segment is deleted. The zero Slice is empty.
type Slice struct {
	seg        *segment
	pos, n     int64
	NextOffset int64 // where to read on: the offset after the last batch, or after those that a compaction took away
}

// Slice is [Log.Read] without the reading: the same batches, the same errors. Of
// the log it looks at some headers only. The caller releases the slice, unless
// there is an error.
func (l *Log) Slice(from int64, maxBytes int, limit int64, minOne bool) (Slice, error) {
	none := Slice{NextOffset: from}
	start, end := l.start.Load(), l.end.Load()
	if from < start || from > end {
		return none, fmt.Errorf("slice at %d: %w: the log has %d to %d", from, ErrOffsetOutOfRange, start, end)
	}
	limit = min(limit, end)
	if from >= limit {
		if l.closed.Load() {
			return none, fmt.Errorf("slice at %d: %w", from, ErrClosed)
		}
		return none, nil
	}
	var part Slice
	found := false
	err := l.eachFrom(from, func(s *segment) (_ bool, err error) {
		if s.base >= limit {
			return true, nil
		}
		part, found, err = s.slice(from, maxBytes, limit, minOne)
		if err == nil && part.n > 0 {
			err = s.acquire() // until Release
		}
		return found, err
	})
	if err != nil {
		return none, fmt.Errorf("slice at %d: %w", from, err)
	}
	if !found {
		none.NextOffset = limit // a compaction took all that there was
		return none, nil
	}
	return part, nil
}

// slice finds where the batches that are asked for begin and end. ok is false if
// the segment has no batch at from or after it.
func (s *segment) slice(from int64, maxBytes int, limit int64, minOne bool) (_ Slice, ok bool, err error) {
	none := Slice{NextOffset: from}
	w, err := s.walkFrom(from)
	if err != nil {
		return none, false, err
	}
	h, pos, err := w.next()
	for err == nil && h.LastOffset() < from {
		h, pos, err = w.next()
	}
	switch {
	case errors.Is(err, io.EOF):
		return none, false, nil
	case err != nil:
		return none, false, err
	case h.BaseOffset >= limit:
		return Slice{NextOffset: limit}, true, nil
	case h.Length > maxBytes && !minOne:
		return none, true, nil
	}
	part := Slice{seg: s, pos: pos, n: int64(h.Length), NextOffset: h.NextOffset()}
	last := pos + int64(maxBytes)
	if err := w.skip(last, limit); err != nil {
		return none, false, err
	}
	part.n, part.NextOffset = w.pos-pos, w.want
	for w.pos < last && w.want < limit {
		h, pos, err := w.next()
		if err != nil || pos+int64(h.Length) > last || h.BaseOffset >= limit {
			break // an error is for the next who reads from there
		}
		part.n, part.NextOffset = pos+int64(h.Length)-part.pos, h.NextOffset()
	}
	return part, true, nil
}

// skip jumps ahead by the index, as far as all batches on the way lie before the
// position last and the offset limit. An entry that is not true is not followed.
func (w *walker) skip(last, limit int64) error {
	x, err := w.seg.index()
	if err != nil {
		return err
	}
	e := x.floorBefore(last, limit-w.seg.base)
	if int64(e.pos) <= w.pos {
		return nil
	}
	pos, want := w.pos, w.want
	w.pos, w.want = int64(e.pos), w.seg.base+int64(e.rel)
	if h, _, err := w.next(); err != nil || h.BaseOffset != w.seg.base+int64(e.rel) {
		w.pos, w.want = pos, want
		return nil //nolint:nilerr // the walk goes on without the index
	}
	w.pos, w.want = int64(e.pos), w.seg.base+int64(e.rel)
	return nil
}

// Len is the number of bytes.
func (s *Slice) Len() int { return int(s.n) }

// ReadAt reads bytes from off on. It fills p, or fails: with io.EOF where the
// slice ends, with [*CorruptError] where the file does.
func (s *Slice) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read a slice at %d: %w", off, ErrOffsetOutOfRange)
	}
	want := p[:max(0, min(int64(len(p)), s.n-off))]
	if len(want) > 0 {
		if err := readFull(s.seg.file(), want, s.pos+off); err != nil {
			return 0, &CorruptError{File: s.seg.path, Position: s.pos + off, Offset: s.NextOffset, Cause: err}
		}
	}
	if len(want) < len(p) {
		return len(want), io.EOF
	}
	return len(want), nil
}

// File is the file that the slice lies in and where it begins, for sendfile; nil
// if that is not on the real disk. It is valid until Release.
func (s *Slice) File() (f *os.File, at int64) {
	if s.seg == nil {
		return nil, 0
	}
	if o, ok := s.seg.file().(vfs.OSFile); ok {
		return o.OS(), s.pos
	}
	return nil, 0
}

// Release gives the slice back: its bytes can't be read any more. It may be
// called twice.
func (s *Slice) Release() {
	if s.seg != nil {
		s.seg.release()
	}
	s.seg, s.n = nil, 0
}
