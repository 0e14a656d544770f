// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/vfs"
)

// maxRelative is how far an offset may lie from the base of its segment: the
// indexes have 32 bits for it.
const maxRelative = math.MaxInt32

// A Log is one partition's log. All methods are safe for concurrent use. One
// append runs at a time; reads run beside it and beside each other without a lock.
//
// Lock order: meta before mu before those of segments and handles, a handle's
// before that of [Handles]; the others are leaves.
type Log struct {
	cfg   Config
	tuned atomic.Pointer[Tuning] // what holds instead of cfg; nil: cfg

	mu        sync.Mutex // the appender's, held over its write
	producers producers  // guarded by mu
	closing   bool       // guarded by mu: no append and no roll begins any more
	flushSoon bool       // guarded by mu: FlushInterval's goroutine is under way

	segs   atomic.Pointer[[]*segment] // by base offset, never empty while open; replaced under mu, never changed
	start  atomic.Int64               // log start offset
	end    atomic.Int64               // log end offset, published after the bytes
	epochs epochs
	loaded ring

	flush   flusher
	failure atomic.Pointer[error] // why appends are refused for good
	closed  atomic.Bool           // reads are refused

	meta      sync.Mutex    // serialises writing the small files, and the removal and the swap of segments
	recovery  atomic.Int64  // recovery point in the checkpoint: all below is durable; written under meta
	cleaned   atomic.Int64  // all below was compacted; written under meta
	sparse    atomic.Int64  // batches may be missing below, not above; written under meta
	covered   atomic.Int64  // a durable snapshot tells of the producers before it; written under meta
	moved     []int64       // guarded by meta: checkpoints that are called after these log start offsets, rising
	retired   []retiredFile // guarded by meta: files that wait for their removal
	unswapped error         // guarded by meta: why no compaction may follow until the log is opened anew

	wg        sync.WaitGroup // settle, flushLater, compactions
	stop      chan struct{}  // closed by close
	closeOnce sync.Once
	closeErr  error
}

// LogStartOffset is the first offset that can be read.
func (l *Log) LogStartOffset() int64 { return l.start.Load() }

// LogEndOffset is the offset that the next record gets.
func (l *Log) LogEndOffset() int64 { return l.end.Load() }

// Size is the number of bytes in the log's segments, without indexes.
func (l *Log) Size() int64 {
	var n int64
	for _, s := range *l.segs.Load() {
		n += s.size.Load()
	}
	return n
}

// ActiveSize is the number of bytes in the active segment, which is never
// compacted.
func (l *Log) ActiveSize() int64 { return l.active().size.Load() }

// LatestEpoch is the leader epoch of the last batch, -1 if there was none.
func (l *Log) LatestEpoch() int32 { return l.epochs.latest() }

// EndOffsetForEpoch answers OffsetForLeaderEpoch (KIP-320): the largest epoch in
// the log that is not above epoch, and the offset after its last record. Both are
// -1 if epoch is newer than all; for an epoch older than all, it is epoch itself and
// the log's first offset.
func (l *Log) EndOffsetForEpoch(epoch int32) (foundEpoch int32, endOffset int64) {
	return l.epochs.endOffset(epoch, l.end.Load())
}

// DeleteRecords moves the log start offset up to upTo, durably, and removes the
// segments that lie below it. It answers the log start offset, which never moves
// back. Errors: [ErrOffsetOutOfRange] over the log end offset, [ErrClosed].
func (l *Log) DeleteRecords(upTo int64) (logStartOffset int64, err error) {
	l.meta.Lock()
	defer l.meta.Unlock()
	start := l.start.Load()
	switch {
	case l.closed.Load():
		return start, fmt.Errorf("delete records: %w", ErrClosed)
	case upTo > l.end.Load():
		return start, fmt.Errorf("delete records up to %d: %w: log ends at %d", upTo, ErrOffsetOutOfRange, l.end.Load())
	case upTo <= start:
		return start, nil
	}
	if err := l.moveStart(upTo); err != nil {
		return start, fmt.Errorf("delete records up to %d: %w", upTo, err)
	}
	return upTo, nil
}

// moveStart makes upTo the log start offset, durably, before it removes what lies
// below. A full disk does not keep it from that: the checkpoint is then renamed, what a
// snapshot covers already is removed at once, and the rest when there is room for
// another snapshot. The caller holds meta.
func (l *Log) moveStart(upTo int64) error {
	delay := l.Tuning().FileDeleteDelay
	covered, err := l.keepProducers(upTo)
	if err == nil {
		l.epochs.deleteBefore(upTo)
		err = l.writeCheckpoint(upTo, covered)
	}
	switch {
	case err == nil:
		l.covered.Store(max(covered, l.covered.Load()))
	case vfs.IsFull(err) && l.failed() == nil:
		l.cfg.Logger.Warn("the disk is full: deleted records go at once", "dir", l.cfg.Dir, "log_start_offset", upTo, "cause", err)
		if err := l.renameCheckpoint(upTo); err != nil {
			return err
		}
		delay = 0
		err = l.sweep(time.Time{})
	}
	if err != nil {
		return err
	}
	l.start.Store(upTo)
	l.discard(l.dropBelow(upTo), delay)
	return nil
}

// keepProducers writes a snapshot of the producers' state if segments below upTo are
// to go that no snapshot covers, being sealed a moment ago: a recovery could not tell
// any more that a batch which comes again was there. It returns the offset of the newest
// snapshot, which counts once the recovery point is there. The caller holds meta.
func (l *Log) keepProducers(upTo int64) (covered int64, err error) {
	segs := *l.segs.Load()
	n := below(segs, upTo)
	if covered = l.covered.Load(); n == 0 || segs[n].base <= covered {
		return covered, nil
	}
	l.mu.Lock()
	end := l.end.Load()
	snapshot := l.producers.encode(end)
	l.mu.Unlock()
	if err := l.Flush(context.Background(), end); err != nil {
		return 0, err
	}
	if err := l.writeSnapshot(end, snapshot); err != nil {
		return 0, err
	}
	if err := l.cfg.FS.SyncDir(l.cfg.Dir); err != nil {
		return 0, err
	}
	return end, nil
}

// below is how many segments end at or below start, without the last one.
func below(segs []*segment, start int64) (n int) {
	for n < len(segs)-1 && segs[n+1].base <= start {
		n++
	}
	return n
}

// dropBelow takes the segments that end at or below start off the list, but
// never the active one nor one that no snapshot covers, and returns them.
func (l *Log) dropBelow(start int64) []*segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	segs := *l.segs.Load()
	n := below(segs, min(start, l.covered.Load()))
	if n > 0 {
		l.publish(slices.Clone(segs[n:]))
	}
	return segs[:n]
}

func (l *Log) publish(segs []*segment) { l.segs.Store(&segs) }

// fail refuses appends from here on; the first reason stays.
func (l *Log) fail(cause error) error {
	err := fmt.Errorf("%w: %w", ErrLogFailed, cause)
	if l.failure.CompareAndSwap(nil, &err) {
		l.cfg.Logger.Error("log has failed, appends are refused", "dir", l.cfg.Dir, "cause", cause)
	}
	return err
}

// Failure is why appends are refused until the log is opened anew ([ErrLogFailed]),
// or nil.
func (l *Log) Failure() error { return l.failed() }

func (l *Log) failed() error {
	if err := l.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// Close waits for work under way, syncs what was appended, and writes what lets
// the next Open be quick. Reads that began before go on. A second call waits for
// the first and returns its error.
func (l *Log) Close() error {
	l.closeOnce.Do(func() {
		l.quiesce()
		if l.closeErr = l.failed(); l.closeErr == nil {
			l.closeErr = l.settleAll()
		}
		l.letGo()
	})
	return l.closeErr
}

// Remove closes the log and removes its folder with all that is in it.
func (l *Log) Remove() error {
	l.closeOnce.Do(func() {
		l.quiesce()
		l.letGo()
	})
	if err := l.cfg.FS.RemoveAll(l.cfg.Dir); err != nil {
		return fmt.Errorf("remove log: %w", err)
	}
	if err := l.cfg.FS.SyncDir(filepath.Dir(l.cfg.Dir)); err != nil {
		return fmt.Errorf("remove log: %w", err)
	}
	return nil
}

// quiesce lets no more appends begin and waits for the log's goroutines.
func (l *Log) quiesce() {
	l.mu.Lock()
	l.closing = true
	l.mu.Unlock()
	close(l.stop)
	l.wg.Wait()
}

// letGo refuses reads and closes the files as soon as the readers are done.
func (l *Log) letGo() {
	l.meta.Lock() // no DeleteRecords under way
	defer l.meta.Unlock()
	l.closed.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range *l.segs.Load() {
		s.drop()
	}
}

// settleAll makes everything durable and leaves the mark of a clean stop.
func (l *Log) settleAll() error {
	end := l.end.Load()
	if err := l.sync(); err != nil {
		return err
	}
	segs := *l.segs.Load()
	var errs []error
	for _, s := range segs {
		errs = append(errs, s.writeIndex(false))
	}
	l.mu.Lock()
	snapshot := l.producers.encode(end)
	l.mu.Unlock()
	l.meta.Lock()
	defer l.meta.Unlock()
	errs = append(errs, l.writeSnapshot(end, snapshot), l.writeCheckpoint(l.start.Load(), end))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close log: %w", err)
	}
	l.pruneSnapshots()
	last := segs[len(segs)-1]
	mark := encodeMark(cleanMagic, end, last.base, last.size.Load())
	if err := replaceFile(l.cfg.FS, filepath.Join(l.cfg.Dir, cleanName), mark); err != nil {
		return fmt.Errorf("close log: %w", err)
	}
	if err := l.cfg.FS.SyncDir(l.cfg.Dir); err != nil {
		return fmt.Errorf("close log: %w", err)
	}
	return nil
}
