// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/internal/failpoint"
)

// A swap is a file that is to take the place of the segments from base to before
// end. Its name says so: it is what makes the change happen or not. The steps, each
// durable before the next:
//
//	<base>.log.cleaned    written and synced              | a crash before here
//	<base>-<end>.swap     renamed to                      | undoes it, one after here
//	<each>.log.deleted    the old files are out of the way | completes it
//	<base>.log            renamed to
type swap struct{ base, end int64 }

// errHalf says that a swap failed on its way.
var errHalf = errors.New("a compacted segment is half in place")

func (w swap) path(dir string) string {
	return filepath.Join(dir, fmt.Sprintf("%020d-%020d%s", w.base, w.end, swapSuffix))
}

func parseSwap(name string) (swap, bool) {
	offsets, ok := strings.CutSuffix(name, swapSuffix)
	from, to, dash := strings.Cut(offsets, "-")
	if !ok || !dash || len(from) != 20 || len(to) != 20 {
		return swap{}, false
	}
	base, err1 := strconv.ParseInt(from, 10, 64)
	end, err2 := strconv.ParseInt(to, 10, 64)
	return swap{base, end}, err1 == nil && err2 == nil && base >= 0 && base < end
}

// swapIn lets fresh, which is written and synced, take the place of the segments
// of old, which end before end. It answers errGone if these are no longer all there.
// Readers that are at old go on there.
func (l *Log) swapIn(fresh *segment, old []*segment, end int64) error {
	l.meta.Lock()
	defer l.meta.Unlock()
	switch {
	case l.closed.Load():
		return ErrClosed
	case !l.hasAll(old):
		return errGone
	}
	if err := l.writeCleaned(l.cleaned.Load(), max(l.sparse.Load(), end)); err != nil {
		return err
	}
	if err := l.moveIn(fresh, old, swap{old[0].base, end}); err != nil {
		// Whether it is done or undone, the next Open finds all that it needs; a second
		// change on top of half of one would be too much.
		l.unswapped = fmt.Errorf("%w: %w", errHalf, err)
		return l.unswapped
	}
	l.replace(fresh, old)
	if err := fresh.writeIndex(true); err != nil {
		l.cfg.Logger.Warn("write index of compacted segment", "file", fresh.path, "cause", err)
	}
	l.removeOld(old)
	return nil
}

// halfSwapped is why no compaction may begin.
func (l *Log) halfSwapped() error {
	l.meta.Lock()
	defer l.meta.Unlock()
	return l.unswapped
}

func (l *Log) hasAll(old []*segment) bool {
	segs := *l.segs.Load()
	i := slices.Index(segs, old[0])
	return i >= 0 && i+len(old) < len(segs) && slices.Equal(segs[i:i+len(old)], old)
}

// moveIn does the renames. The old files stay readable to who has them.
func (l *Log) moveIn(fresh *segment, old []*segment, w swap) error {
	if err := fresh.handle.rename(w.path(l.cfg.Dir)); err != nil {
		return err
	}
	if err := l.cfg.FS.SyncDir(l.cfg.Dir); err != nil {
		return err
	}
	failpoint.Hit(failpoint.CompactionSwap)
	for _, s := range old {
		s.retire()
		if err := l.removeIndex(s.base); err != nil {
			return err
		}
		if err := s.handle.rename(s.path + deletedSuffix); err != nil {
			return err
		}
		failpoint.Hit(failpoint.CompactionSwap)
	}
	if err := l.cfg.FS.SyncDir(l.cfg.Dir); err != nil {
		return err
	}
	if err := fresh.handle.rename(fresh.path); err != nil {
		return err
	}
	failpoint.Hit(failpoint.CompactionSwap)
	return l.cfg.FS.SyncDir(l.cfg.Dir)
}

// replace puts fresh into the list in the place of old.
func (l *Log) replace(fresh *segment, old []*segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	segs := *l.segs.Load()
	i := slices.Index(segs, old[0])
	l.publish(slices.Replace(slices.Clone(segs), i, i+len(old), fresh))
}

// removeOld removes files that were moved out of the way, at once or after the
// delay.
func (l *Log) removeOld(old []*segment) {
	delay := l.Tuning().FileDeleteDelay
	for _, s := range old {
		s.drop()
		path := s.path + deletedSuffix
		if delay > 0 {
			l.removeLater(path, delay)
		} else if err := l.cfg.FS.Remove(path); err != nil {
			l.cfg.Logger.Warn("remove compacted segment", "file", path, "cause", err)
		}
	}
}

// completeSwaps does what was left of swaps when the process died.
func (r *recovery) completeSwaps() error {
	l := r.l
	if len(r.files.swaps) == 0 {
		return nil
	}
	for _, w := range r.files.swaps {
		for _, base := range r.files.segments {
			if base < w.base || base >= w.end {
				continue
			}
			err := l.removeIndex(base)
			if err == nil && base != w.base {
				err = l.cfg.FS.Remove(fileName(l.cfg.Dir, base, logSuffix))
			}
			if err != nil {
				return fmt.Errorf("complete a compaction: %w", err)
			}
		}
		if err := l.cfg.FS.SyncDir(l.cfg.Dir); err != nil {
			return fmt.Errorf("complete a compaction: %w", err)
		}
		if err := l.cfg.FS.Rename(w.path(l.cfg.Dir), fileName(l.cfg.Dir, w.base, logSuffix)); err != nil {
			return fmt.Errorf("complete a compaction: %w", err)
		}
		l.cfg.Logger.Info("completed a compaction", "dir", l.cfg.Dir, "from", w.base, "to", w.end)
	}
	if err := l.cfg.FS.SyncDir(l.cfg.Dir); err != nil {
		return fmt.Errorf("complete a compaction: %w", err)
	}
	var err error
	r.files, err = l.listFiles()
	return err
}
