// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/vfs"
)

// A Retention says what a log may keep. Negative values are no limit.
type Retention struct {
	Age   time.Duration // retention.ms: of a segment's latest record
	Bytes int64         // retention.bytes: that the log has at least when its oldest segment goes
}

// Retain removes whole segments from the head of the log that r does not let it
// keep, and says how many. The log start offset has moved, durably, before the first
// file goes. What lies at limit (the high watermark) or above stays. The active segment
// is never removed: if even its latest record is too old, another takes its place first.
func (l *Log) Retain(r Retention, limit int64, now time.Time) (removed int, err error) {
	l.meta.Lock()
	defer l.meta.Unlock()
	if l.closed.Load() {
		return 0, fmt.Errorf("retain: %w", ErrClosed)
	}
	segs, end := *l.segs.Load(), l.end.Load()
	n, start, err := l.outlived(segs, r, min(limit, end), now)
	if err != nil {
		return 0, fmt.Errorf("retain: %w", err)
	}
	if n == len(segs) {
		rolled, rerr := l.rollAt(end)
		if !rolled { // a record has come, or there is no room for another segment
			n, start = n-1, segs[n-1].base
		}
		if rerr != nil && (n == 0 || !vfs.IsFull(rerr)) {
			return 0, fmt.Errorf("retain: %w", rerr)
		}
	}
	if n == 0 {
		return 0, nil
	}
	if err := l.moveStart(max(start, l.start.Load())); err != nil {
		return 0, fmt.Errorf("retain: %w", err)
	}
	return n, nil
}

// outlived is how many segments at the head r does not let the log keep, and the
// offset after them.
func (l *Log) outlived(segs []*segment, r Retention, limit int64, now time.Time) (n int, start int64, err error) {
	total := l.Size()
	for i, s := range segs {
		end, size := l.end.Load(), s.size.Load()
		if i < len(segs)-1 {
			end = segs[i+1].base
		} else if size == 0 {
			break
		}
		tooMuch := r.Bytes >= 0 && total-size >= r.Bytes
		tooOld := false
		if r.Age >= 0 && !tooMuch {
			if tooOld, err = s.olderThan(now.Add(-r.Age)); err != nil {
				return 0, 0, err
			}
		}
		if !tooMuch && !tooOld || end > limit {
			break
		}
		n, start, total = i+1, end, total-size
	}
	return n, start, nil
}

// olderThan tells whether the latest record is from before t. Where no record
// has a timestamp, it is the time of the last change of the file.
func (s *segment) olderThan(t time.Time) (bool, error) {
	if err := s.acquire(); err != nil {
		return false, err
	}
	defer s.release()
	ts, _, ok, err := s.maxTimestamp()
	if err != nil {
		return false, err
	}
	if ok && ts >= 0 {
		return ts < t.UnixMilli(), nil
	}
	info, err := s.log.cfg.FS.Stat(s.path)
	if err != nil {
		return false, err
	}
	return info.ModTime().Before(t), nil
}

// rollAt seals the active segment if it ends at end and has records.
func (l *Log) rollAt(end int64) (rolled bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.failed(); err != nil {
		return false, err
	}
	if l.closing || l.end.Load() != end || l.active().size.Load() == 0 {
		return false, nil
	}
	_, err = l.roll()
	return err == nil, err
}

// RollOlder seals the active segment if its first record came so long before now,
// as the next append would: a log that nobody appends to is to be compacted, too.
func (l *Log) RollOlder(age time.Duration, now time.Time) error {
	l.mu.Lock()
	seen := l.active().firstSeen
	end := l.end.Load()
	l.mu.Unlock()
	if seen == 0 || now.UnixMilli()-seen < age.Milliseconds() {
		return nil
	}
	_, err := l.rollAt(end)
	return err
}

// A retiredFile is a log file that waits for its removal.
type retiredFile struct {
	path string
	due  time.Time
}

// discard removes segments that are off the list: at once, or after a delay. A
// crash leaves that to the next Open. The caller holds meta.
func (l *Log) discard(gone []*segment, delay time.Duration) {
	for _, s := range gone {
		s.retire()
		err := l.removeIndex(s.base)
		if path := s.path + deletedSuffix; err == nil && delay > 0 {
			if err = s.handle.rename(path); err == nil {
				l.removeLater(path, delay)
			}
		} else if err == nil {
			err = l.cfg.FS.Remove(s.path)
		}
		s.drop()
		if err != nil {
			l.cfg.Logger.Warn("remove deleted segment", "file", s.path, "cause", err)
		}
	}
}

func (l *Log) removeIndex(base int64) error {
	var errs []error
	for _, suffix := range []string{indexSuffix, timeSuffix} {
		if err := l.cfg.FS.Remove(fileName(l.cfg.Dir, base, suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (l *Log) removeLater(path string, delay time.Duration) {
	l.retired = slices.DeleteFunc(l.retired, func(r retiredFile) bool { return r.path == path })
	l.retired = append(l.retired, retiredFile{path, time.Now().Add(delay)})
}

// Sweep removes the files whose delay is over.
func (l *Log) Sweep(now time.Time) error {
	l.meta.Lock()
	defer l.meta.Unlock()
	if l.closed.Load() {
		return nil
	}
	return l.sweep(now)
}

// sweep removes the files whose delay is over at now, all if now is zero. The caller
// holds meta.
func (l *Log) sweep(now time.Time) error {
	var errs []error
	l.retired = slices.DeleteFunc(l.retired, func(r retiredFile) bool {
		if r.due.After(now) && !now.IsZero() {
			return false
		}
		if err := l.cfg.FS.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove deleted segment: %w", err))
			return false
		}
		return true
	})
	return errors.Join(errs...)
}
