// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/failpoint"
)

// Appended tells where a batch went.
type Appended struct {
	BaseOffset, LastOffset int64 // of the batch; of the original if Duplicate
	LogStartOffset         int64
	MaxTimestamp           int64 // ms; of the batch
	LogAppendTime          int64 // ms; -1: batches keep the time of their creation
	Duplicate              bool  // the batch was in the log already, nothing was written
}

// Append writes one v2 batch as a client sent it: the base offset and the leader
// epoch, which the CRC leaves out, are set in place in batch. now is wall time. It
// does not wait for the disk: see [FlushPolicy]. On an error the log is as before.
//
// Errors: those of [ValidateBatch] and of the sequence check, [ErrStaleLeaderEpoch],
// [ErrLogFailed], [ErrClosed], and those of the disk: after a full disk or a
// short write the torn bytes are cut off again, and the next append may succeed.
func (l *Log) Append(batch []byte, epoch int32, now time.Time) (Appended, error) {
	h, err := ValidateBatch(batch, l.cfg.MaxBatchBytes)
	if err != nil {
		return Appended{}, fmt.Errorf("append: %w", err)
	}
	stamped := l.Tuning().LogAppendTime
	if stamped {
		stamp(batch, &h, now.UnixMilli())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a, err := l.append(batch, &h, epoch, now)
	if stamped {
		a.LogAppendTime = a.MaxTimestamp
	}
	if err != nil {
		return Appended{}, fmt.Errorf("append: %w", err)
	}
	return a, nil
}

func (l *Log) append(batch []byte, h *Header, epoch int32, now time.Time) (Appended, error) {
	if l.closing {
		return Appended{}, ErrClosed
	}
	if err := l.failed(); err != nil {
		return Appended{}, err
	}
	nowMs := now.UnixMilli()
	l.producers.sweep(nowMs)
	a := Appended{LogStartOffset: l.start.Load(), MaxTimestamp: h.MaxTimestamp, LogAppendTime: -1}
	dup, err := l.producers.check(h)
	if err != nil {
		return a, err
	}
	if dup != nil {
		a.BaseOffset, a.LastOffset = dup.lastOffset-int64(h.LastOffsetDelta), dup.lastOffset
		a.MaxTimestamp, a.Duplicate = dup.maxTimestamp, true
		return a, nil
	}
	if latest := l.epochs.latest(); epoch < latest {
		return a, fmt.Errorf("%w: %d, the log has %d", ErrStaleLeaderEpoch, epoch, latest)
	}
	s, err := l.activeFor(h, nowMs)
	if err != nil {
		return a, err
	}
	h.BaseOffset, h.LeaderEpoch = l.end.Load(), epoch
	a.BaseOffset, a.LastOffset = h.BaseOffset, h.LastOffset()
	if err := l.write(s, batch, h); err != nil {
		return a, err
	}
	if s.firstSeen == 0 {
		s.firstSeen = nowMs
	}
	l.producers.update(h, nowMs)
	l.epochs.assign(epoch, h.BaseOffset)
	l.end.Store(h.NextOffset())
	l.flushLater()
	return a, nil
}

// write puts the batch at the end of s and publishes the bytes.
func (l *Log) write(s *segment, batch []byte, h *Header) error {
	binary.BigEndian.PutUint64(batch, uint64(h.BaseOffset))
	binary.BigEndian.PutUint32(batch[epochAt:], uint32(h.LeaderEpoch))
	size := s.size.Load()
	if err := s.acquire(); err != nil {
		return err
	}
	defer s.release()
	n, err := s.file().WriteAt(batch, size)
	if err == nil && n < len(batch) {
		err = io.ErrShortWrite
	}
	if err != nil {
		// The torn bytes must be gone for good before others take their place:
		// after a crash they could else be taken for what follows those.
		cut := s.file().Truncate(size)
		if cut == nil {
			cut = s.file().Sync()
		}
		if cut != nil {
			return errors.Join(err, l.fail(cut))
		}
		return err
	}
	failpoint.Hit(failpoint.AfterAppend)
	s.add(h, size)
	s.size.Store(size + int64(len(batch)))
	return nil
}

// activeFor returns the segment that the batch goes to, a new one if the active
// one is full or old.
func (l *Log) activeFor(h *Header, nowMs int64) (*segment, error) {
	s, end := l.active(), l.end.Load()
	size, tuning := s.size.Load(), l.Tuning()
	switch {
	case size == 0:
		return s, nil
	case size+int64(h.Length) > tuning.SegmentBytes:
	case s.firstSeen != 0 && nowMs-s.firstSeen >= tuning.SegmentAge.Milliseconds():
	case s.indexBytes() >= tuning.MaxIndexBytes:
	case end+int64(h.LastOffsetDelta)+1-s.base > maxRelative:
	default:
		return s, nil
	}
	return l.roll()
}

// active is the last segment.
func (l *Log) active() *segment {
	segs := *l.segs.Load()
	return segs[len(segs)-1]
}

// roll seals the active segment and returns a new one. The caller holds mu, and
// closing is not set.
func (l *Log) roll() (*segment, error) {
	s, end := l.active(), l.end.Load()
	next, err := l.createSegment(end)
	if err != nil {
		return nil, fmt.Errorf("roll at offset %d: %w", end, err)
	}
	failpoint.Hit(failpoint.SegmentRoll)
	l.publish(append(slices.Clone(*l.segs.Load()), next))
	snapshot := l.producers.encode(end)
	l.wg.Go(func() { l.settle(s, end, snapshot) })
	return next, nil
}

// createSegment makes an empty segment. Its name is durable after the next sync.
func (l *Log) createSegment(base int64) (*segment, error) {
	s := l.newSegment(base, fileName(l.cfg.Dir, base, logSuffix))
	if err := s.handle.create(); err != nil {
		if rerr := removeFiles(l.cfg.FS, l.cfg.Dir, base); rerr != nil {
			return nil, errors.Join(err, l.fail(rerr))
		}
		return nil, err
	}
	s.idx = &indexes{}
	l.flush.newFile()
	return s, nil
}

// settle makes a segment durable that was just sealed, and writes its indexes,
// the producers' state after it, and the recovery point. It runs beside appends.
func (l *Log) settle(s *segment, end int64, snapshot []byte) {
	err := l.Flush(context.Background(), end)
	if err == nil {
		err = s.writeIndex(true)
	}
	if err == nil {
		l.meta.Lock()
		defer l.meta.Unlock()
		if err = l.writeSnapshot(end, snapshot); err == nil {
			err = l.writeCheckpoint(l.start.Load(), end)
		}
		if err == nil {
			l.covered.Store(max(end, l.covered.Load()))
		}
	}
	if err != nil { // the next roll or Close does it; until then a recovery has more to read
		l.cfg.Logger.Warn("settle sealed segment", "file", s.path, "cause", err)
		return
	}
	l.pruneSnapshots()
}

// writeSnapshot writes the producers' state before offset. The caller holds meta
// and syncs the folder.
func (l *Log) writeSnapshot(offset int64, snapshot []byte) error {
	return replaceFile(l.cfg.FS, fileName(l.cfg.Dir, offset, snapshotSuffix), snapshot, failpoint.SnapshotRename)
}

// pruneSnapshots removes all but the newest two snapshots up to the recovery
// point: a second one in case the first can't be read. The caller holds meta.
func (l *Log) pruneSnapshots() {
	files, err := l.listFiles()
	if err != nil {
		return // superfluous snapshots do no harm
	}
	usable := slices.DeleteFunc(files.snapshots, func(at int64) bool { return at > l.recovery.Load() })
	for i := range len(usable) - 2 {
		err := l.cfg.FS.Remove(fileName(l.cfg.Dir, usable[i], snapshotSuffix))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.cfg.Logger.Warn("remove old snapshot", "dir", l.cfg.Dir, "offset", usable[i], "cause", err)
		}
	}
}

// dirFiles is what a log's folder holds, each list in order of offsets.
type dirFiles struct {
	segments, snapshots []int64
	moved               []int64 // log start offsets that checkpoints have as their names
	swaps               []swap
	strays              []string // files unfinished or on their way out, and indexes without their log file
}

func (l *Log) listFiles() (dirFiles, error) {
	var d dirFiles
	entries, err := l.cfg.FS.ReadDir(l.cfg.Dir)
	if err != nil {
		return d, err
	}
	for _, e := range entries { // sorted by name, so by offset
		if base, ok := parseName(e.Name(), logSuffix); ok {
			d.segments = append(d.segments, base)
		} else if at, ok := parseName(e.Name(), snapshotSuffix); ok {
			d.snapshots = append(d.snapshots, at)
		} else if at, ok := parseName(e.Name(), startSuffix); ok {
			d.moved = append(d.moved, at)
		} else if w, ok := parseSwap(e.Name()); ok {
			d.swaps = append(d.swaps, w)
		}
	}
	for _, e := range entries {
		base, ok := parseName(e.Name(), indexSuffix)
		if !ok {
			base, ok = parseName(e.Name(), timeSuffix)
		}
		ext := filepath.Ext(e.Name())
		if ok && !slices.Contains(d.segments, base) || ext == tempSuffix || ext == cleanedSuffix || ext == deletedSuffix {
			d.strays = append(d.strays, e.Name())
		}
	}
	return d, nil
}
