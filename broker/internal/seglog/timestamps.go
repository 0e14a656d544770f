// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"errors"
	"fmt"
	"io"
	"math"
)

// OffsetForTimestamp finds the first record of timestamp ts (ms) or later, below
// limit: its offset, timestamp and the leader epoch it was written in. ok is
// false if there is none. It reads the records of one batch; where these can't be
// decoded, which is their producer's fault, the batch itself is the answer.
func (l *Log) OffsetForTimestamp(ts, limit int64) (offset, timestamp int64, epoch int32, ok bool, err error) {
	f := find{ts: ts, start: l.start.Load(), limit: min(limit, l.end.Load())}
	err = l.eachFrom(f.start, func(s *segment) (bool, error) {
		if s.base >= f.limit {
			return true, nil
		}
		err := s.findTime(&f)
		return f.ok, err
	})
	if errors.Is(err, ErrOffsetOutOfRange) { // deleted meanwhile: look from the new start on
		return l.OffsetForTimestamp(ts, limit)
	}
	if err != nil {
		return -1, -1, -1, false, fmt.Errorf("offset for timestamp %d: %w", ts, err)
	}
	if !f.ok {
		return -1, -1, -1, false, nil
	}
	return f.offset, f.timestamp, f.epoch, true, nil
}

// MaxTimestamp finds the record with the highest timestamp below limit, the first
// of them: its offset, timestamp and leader epoch. ok is false if there is no record.
func (l *Log) MaxTimestamp(limit int64) (offset, timestamp int64, epoch int32, ok bool, err error) {
	start := l.start.Load()
	limit = min(limit, l.end.Load())
	var f find
	highest, found := int64(0), false
	err = l.eachFrom(start, func(s *segment) (bool, error) {
		if s.base >= limit {
			return true, nil
		}
		ts, base, some, err := s.highest(start, limit)
		if err != nil || !some || found && ts <= highest {
			return false, err
		}
		g := find{ts: ts, start: start, limit: limit}
		if err := s.findAt(&g, base); err != nil {
			return false, err
		}
		if g.ok {
			f, highest, found = g, ts, true
		}
		return false, nil
	})
	if errors.Is(err, ErrOffsetOutOfRange) { // deleted meanwhile
		return l.MaxTimestamp(limit)
	}
	if err != nil {
		return -1, -1, -1, false, fmt.Errorf("max timestamp: %w", err)
	}
	if !found {
		return -1, -1, -1, false, nil
	}
	return f.offset, f.timestamp, f.epoch, true, nil
}

// findAt looks into the batch at base, which has a record that late by its header.
func (s *segment) findAt(f *find, base int64) error {
	h, pos, err := s.locate(base)
	if err == nil && h.BaseOffset != base {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return &CorruptError{File: s.path, Position: pos, Offset: base, Cause: err}
	}
	if err := s.findIn(f, &h, pos); err != nil {
		return err
	}
	if !f.ok && h.Records > 0 { // the header claims a time that no record has
		f.claim(&h)
	}
	return nil
}

// A find is a look-up by time among the records from start to limit.
type find struct {
	ts, start, limit int64

	offset, timestamp int64
	epoch             int32
	ok                bool
}

// findTime looks into s if it has a record that late.
func (s *segment) findTime(f *find) error {
	highest, _, ok, err := s.maxTimestamp()
	if err != nil || !ok || highest < f.ts {
		return err
	}
	x, err := s.index()
	if err != nil {
		return err
	}
	e, ok := x.before(f.ts)
	if ok {
		if err := s.checkTime(&x, e); err != nil {
			if x, err = s.rebuildFor(err); err != nil {
				return err
			}
			e, _ = x.before(f.ts)
		}
	}
	return s.findFrom(f, max(f.start, s.base+int64(e.rel)))
}

// findFrom looks into the batches of s from the one that holds offset from on.
func (s *segment) findFrom(f *find, from int64) error {
	w, err := s.walkFrom(from)
	if err != nil {
		return err
	}
	for !f.ok {
		h, pos, err := w.next()
		if errors.Is(err, io.EOF) || err == nil && h.BaseOffset >= f.limit {
			return nil
		}
		if err != nil {
			return err
		}
		if h.LastOffset() < from || h.MaxTimestamp < f.ts {
			continue
		}
		if err := s.findIn(f, &h, pos); err != nil {
			return err
		}
	}
	return nil
}

var errFound = errors.New("found")

// findIn looks into one batch, whose header claims a record that late.
func (s *segment) findIn(f *find, h *Header, pos int64) error {
	batch := make([]byte, h.Length) // not longer than the file: the walker has seen to it
	if err := readFull(s.file(), batch, pos); err != nil {
		return &CorruptError{File: s.path, Position: pos, Offset: h.BaseOffset, Cause: err}
	}
	err := EachRecord(batch, func(r Record) error {
		if r.Timestamp >= f.ts && r.Offset >= f.start && r.Offset < f.limit {
			f.offset, f.timestamp, f.epoch, f.ok = r.Offset, r.Timestamp, h.LeaderEpoch, true
			return errFound
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFound) {
		f.claim(h)
	}
	return nil
}

// claim takes the word of a header for what its records can't tell.
func (f *find) claim(h *Header) {
	f.offset, f.timestamp, f.epoch, f.ok = max(h.BaseOffset, f.start), h.MaxTimestamp, h.LeaderEpoch, true
}

// highest is the highest timestamp of the batches from start to limit and the
// base offset of the first that has it; ok is false if there is no batch.
func (s *segment) highest(start, limit int64) (ts, base int64, ok bool, err error) {
	ts, base, ok, err = s.maxTimestamp()
	if err != nil || !ok || base >= start && base < limit {
		return ts, base, ok, err
	}
	w, err := s.walkFrom(max(start, s.base))
	if err != nil {
		return 0, 0, false, err
	}
	ok = false
	for {
		h, pos, err := w.next()
		if errors.Is(err, io.EOF) || err == nil && h.BaseOffset >= limit {
			return ts, base, ok, nil
		}
		if err != nil {
			return 0, 0, false, err
		}
		if h.LastOffset() < start || ok && h.MaxTimestamp <= ts {
			continue
		}
		latest := h.MaxTimestamp
		if h.BaseOffset < start || h.LastOffset() >= limit {
			if latest, err = s.latestIn(&h, pos, start, limit); err != nil {
				return 0, 0, false, err
			}
		}
		if !ok || latest > ts {
			ts, base, ok = latest, h.BaseOffset, true
		}
	}
}

// latestIn is the highest timestamp of the records from start to limit in a batch
// that has others too; where they can't be decoded, what the header says.
func (s *segment) latestIn(h *Header, pos, start, limit int64) (int64, error) {
	batch := make([]byte, h.Length) // not longer than the file: the walker has seen to it
	if err := readFull(s.file(), batch, pos); err != nil {
		return 0, &CorruptError{File: s.path, Position: pos, Offset: h.BaseOffset, Cause: err}
	}
	latest := int64(math.MinInt64)
	err := EachRecord(batch, func(r Record) error {
		if r.Offset >= start && r.Offset < limit {
			latest = max(latest, r.Timestamp)
		}
		return nil
	})
	if err != nil || latest == math.MinInt64 {
		latest = h.MaxTimestamp
	}
	return latest, nil
}
