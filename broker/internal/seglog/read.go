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
	NextOffset  int64  // where to read on: the offset after the last batch of Data, or after those that a compaction took away
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
	found := false
	err := l.eachFrom(from, func(s *segment) (_ bool, err error) {
		if s.base >= limit {
			return true, nil
		}
		found, err = s.read(&r, from, maxBytes, limit, minOne)
		return found, err
	})
	if err == nil && !found {
		r.NextOffset = limit // a compaction took all that there was
		if from := max(from, l.sparse.Load()); from < limit {
			err = &CorruptError{File: l.cfg.Dir, Offset: from, Cause: fmt.Errorf("no batch before %d", limit)}
		}
	}
	if err != nil {
		return r, fmt.Errorf("read at %d: %w", from, err)
	}
	return r, nil
}

// eachFrom calls fn for the segment that offset lies in and those after it, until
// it is done. fn may use the segment's file. A segment that goes meanwhile is looked
// for anew: a compaction has put another in its place, which begins at the same offset or before.
func (l *Log) eachFrom(offset int64, fn func(*segment) (done bool, err error)) error {
	for {
		if l.closed.Load() {
			return ErrClosed
		}
		segs := *l.segs.Load()
		i := sort.Search(len(segs), func(i int) bool { return segs[i].base > offset }) - 1
		if i < 0 {
			return fmt.Errorf("%w: the log begins at %d", ErrOffsetOutOfRange, l.start.Load())
		}
		for _, s := range segs[i:] {
			offset = max(offset, s.base)
			err := s.acquire()
			if errors.Is(err, errGone) {
				break // it is off the list by now, or the log is closed
			}
			if err != nil {
				return err
			}
			done, err := fn(s)
			s.release()
			if done || err != nil || s == segs[len(segs)-1] {
				return err
			}
		}
	}
}

// read fills in r.Data and r.NextOffset. ok is false if the segment has no batch
// at from or after it.
func (s *segment) read(r *Read, from int64, maxBytes int, limit int64, minOne bool) (ok bool, err error) {
	h, pos, err := s.locate(from)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if h.BaseOffset >= limit {
		r.NextOffset = limit
		return true, nil
	}
	if h.Length > maxBytes && !minOne {
		return true, nil
	}
	n := min(s.size.Load()-pos, int64(max(maxBytes, h.Length)))
	data := make([]byte, n)
	if err := readFull(s.file(), data, pos); err != nil {
		return false, &CorruptError{File: s.path, Position: pos, Offset: h.BaseOffset, Cause: err}
	}
	next, cut, sparse := h.BaseOffset, 0, s.log.sparse.Load()
	for cut < len(data) {
		h, err := ParseHeader(data[cut:])
		if err != nil && len(data)-cut < HeaderSize || next >= limit || err == nil && h.Length > len(data)-cut {
			break // the rest is not asked for, or is a batch in part
		}
		if err == nil && cut > 0 && h.BaseOffset >= limit {
			break
		}
		if err == nil && !follows(h.BaseOffset, next, sparse) {
			err = fmt.Errorf("base offset is %d", h.BaseOffset)
		}
		if err != nil {
			if cut > 0 {
				break // the next read will tell
			}
			return false, &CorruptError{File: s.path, Position: pos, Offset: next, Cause: err}
		}
		next, cut = h.NextOffset(), cut+h.Length
	}
	r.Data, r.NextOffset = data[:cut:cut], next
	return true, nil
}

// locate returns the batch that holds offset and its position, or the first after
// offset if a compaction took that one away; io.EOF if there is none in the segment.
func (s *segment) locate(offset int64) (Header, int64, error) {
	w, err := s.walkFrom(offset)
	if err != nil {
		return Header{}, 0, err
	}
	for {
		h, pos, err := w.next()
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
	w, err := s.walkAt(x.floor(offset - s.base))
	if err == nil {
		return w, nil
	}
	if x, err = s.rebuildFor(err); err != nil {
		return nil, err
	}
	e := x.floor(offset - s.base)
	return newWalker(s, int64(e.pos), s.base+int64(e.rel), s.size.Load(), lookupWindow), nil
}

// walkAt returns a walker on the batch that an entry of the index names; a
// *CorruptError if it is not there. The first batch is not looked at.
func (s *segment) walkAt(e offsetEntry) (*walker, error) {
	w := newWalker(s, int64(e.pos), s.base+int64(e.rel), s.size.Load(), lookupWindow)
	if e.pos == 0 {
		return w, nil
	}
	h, _, err := w.next()
	w.pos, w.want = int64(e.pos), s.base+int64(e.rel)
	switch {
	case errors.Is(err, io.EOF):
		return nil, w.damage(io.ErrUnexpectedEOF)
	case err != nil:
		return nil, err
	case h.BaseOffset != w.want:
		return nil, w.damage(fmt.Errorf("base offset is %d, the index has %d", h.BaseOffset, w.want))
	}
	return w, nil
}

// checkTime looks at the batch that an entry of the time index names: a
// *CorruptError says that the entry is not true, or how to find the batch is not.
func (s *segment) checkTime(x *indexes, e timeEntry) error {
	w, err := s.walkAt(x.floor(int64(e.rel)))
	if err != nil {
		return err
	}
	for {
		h, _, err := w.next()
		switch {
		case errors.Is(err, io.EOF):
			return w.damage(io.ErrUnexpectedEOF)
		case err != nil:
			return err
		case h.LastOffset() < s.base+int64(e.rel):
		case h.BaseOffset != s.base+int64(e.rel) || h.MaxTimestamp != e.ts:
			return w.damage(fmt.Errorf("batch at %d has timestamps up to %d, the time index has %d at %d",
				h.BaseOffset, h.MaxTimestamp, e.ts, s.base+int64(e.rel)))
		default:
			return nil
		}
	}
}

// rebuildFor makes the index anew if cause is that it was not true, and returns
// cause otherwise.
func (s *segment) rebuildFor(cause error) (indexes, error) {
	if _, bad := errors.AsType[*CorruptError](cause); !bad {
		return indexes{}, cause
	}
	return s.rebuildIndex(cause)
}
