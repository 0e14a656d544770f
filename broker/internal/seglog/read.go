// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"errors"
	"fmt"
	"io"
	"sort"
)

// Read is a piece of a log.
type Read struct {
	Data        []byte // whole batches as stored; fresh, owned by the caller
	NextOffset  int64  // the offset after the last batch of Data; the one asked for if Data is empty
	StartOffset int64  // log start offset
	EndOffset   int64  // log end offset
}

// Read returns whole batches as stored, from the one that holds from on: up to
// maxBytes, of one segment, and none whose base offset is limit (the high
// watermark) or above. With minOne the first batch comes even if it alone is longer
// than maxBytes. No CRC is checked: that is the consumer's.
//
// Errors: [ErrOffsetOutOfRange] unless log start offset <= from <= log end offset,
// [*CorruptError] where a file is not what it should be, [ErrClosed].
func (l *Log) Read(from int64, maxBytes int, limit int64, minOne bool) (Read, error) {
	r := Read{NextOffset: from, StartOffset: l.start.Load(), EndOffset: l.end.Load()}
	if from < r.StartOffset || from > r.EndOffset {
		return r, fmt.Errorf("read at %d: %w: the log has %d to %d", from, ErrOffsetOutOfRange, r.StartOffset, r.EndOffset)
	}
	limit = min(limit, r.EndOffset)
	if from >= limit {
		if l.closed.Load() {
			return r, fmt.Errorf("read at %d: %w", from, ErrClosed)
		}
		return r, nil
	}
	s, err := l.acquire(from)
	if err != nil {
		return r, fmt.Errorf("read at %d: %w", from, err)
	}
	defer s.release()
	if err := s.read(&r, from, maxBytes, limit, minOne); err != nil {
		return r, fmt.Errorf("read at %d: %w", from, err)
	}
	return r, nil
}

// acquire returns the segment that offset lies in, to be released.
func (l *Log) acquire(offset int64) (*segment, error) {
	for {
		if l.closed.Load() {
			return nil, ErrClosed
		}
		segs := *l.segs.Load()
		i := sort.Search(len(segs), func(i int) bool { return segs[i].base > offset }) - 1
		if i < 0 {
			return nil, fmt.Errorf("%w: the log begins at %d", ErrOffsetOutOfRange, l.start.Load())
		}
		if segs[i].acquire() {
			return segs[i], nil
		}
		// It was deleted between the two loads: it is off the list by now, or the log is closed.
	}
}

// read fills in r.Data and r.NextOffset.
func (s *segment) read(r *Read, from int64, maxBytes int, limit int64, minOne bool) error {
	h, pos, err := s.locate(from)
	if err != nil {
		return err
	}
	if h.BaseOffset >= limit || h.Length > maxBytes && !minOne {
		return nil
	}
	n := min(s.size.Load()-pos, int64(max(maxBytes, h.Length)))
	data := make([]byte, n)
	if err := readFull(s.file, data, pos); err != nil {
		return &CorruptError{File: s.path, Position: pos, Offset: h.BaseOffset, Cause: err}
	}
	next, cut := h.BaseOffset, 0
	for cut < len(data) {
		h, err := ParseHeader(data[cut:])
		if err != nil && len(data)-cut < HeaderSize || next >= limit || err == nil && h.Length > len(data)-cut {
			break // the rest is not asked for, or is a batch in part
		}
		if err == nil && h.BaseOffset != next {
			err = fmt.Errorf("base offset is %d", h.BaseOffset)
		}
		if err != nil {
			if cut > 0 {
				break // the next read will tell
			}
			return &CorruptError{File: s.path, Position: pos, Offset: next, Cause: err}
		}
		next, cut = h.NextOffset(), cut+h.Length
	}
	r.Data, r.NextOffset = data[:cut:cut], next
	return nil
}

// locate returns the batch that holds offset, which was published, and its position.
func (s *segment) locate(offset int64) (Header, int64, error) {
	w, err := s.walkFrom(offset)
	if err != nil {
		return Header{}, 0, err
	}
	for {
		h, pos, err := w.next()
		if errors.Is(err, io.EOF) {
			err = w.damage(fmt.Errorf("segment ends before offset %d", offset))
		}
		if err != nil || h.LastOffset() >= offset {
			return h, pos, err
		}
	}
}

// walkFrom returns a walker on a batch near offset and not after it. An index that
// points elsewhere than to the batch it names is made anew.
func (s *segment) walkFrom(offset int64) (*walker, error) {
	x, err := s.index()
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		e := x.floor(offset - s.base)
		w := newWalker(s, int64(e.pos), s.base+int64(e.rel), s.size.Load(), lookupWindow)
		if e.pos == 0 || try > 0 {
			return w, nil
		}
		_, _, err := w.next()
		if _, bad := errors.AsType[*CorruptError](err); !bad {
			w.pos, w.want = int64(e.pos), s.base+int64(e.rel)
			return w, nil
		}
		if x, err = s.rebuildIndex(err); err != nil {
			return nil, err
		}
	}
}
