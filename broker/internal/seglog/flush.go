// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/failpoint"
	"github.com/millrace/millrace/internal/mutant"
)

// A flusher lets those who wait for the disk share one sync: who comes while one
// is under way waits for the next, which then covers all who came meanwhile.
type flusher struct {
	upTo    atomic.Int64 // all below is durable
	created atomic.Int64 // files created so far
	listed  int64        // of these, how many the folder durably lists; the one sync's

	mu      sync.Mutex
	running chan struct{} // guarded by mu: closed when the sync under way ends; nil: there is none
}

// newFile notes that the folder needs a sync.
func (f *flusher) newFile() { f.created.Add(1) }

// FlushedOffset is the offset below which all is durable.
func (l *Log) FlushedOffset() int64 { return l.flush.upTo.Load() }

// Flush returns when all below upTo, at most the log end offset, is durable. Any
// number may wait, and they share syncs. Once a sync failed, nobody knows what is on the
// disk: from then on it answers [ErrLogFailed] for what was not durable before, and
// a second sync is never tried. ctx ends the wait, not the sync.
func (l *Log) Flush(ctx context.Context, upTo int64) error {
	upTo = min(upTo, l.end.Load())
	f := &l.flush
	for f.upTo.Load() < upTo {
		if err := l.failed(); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		if l.closed.Load() {
			return fmt.Errorf("flush: %w", ErrClosed)
		}
		f.mu.Lock()
		if running := f.running; running != nil {
			f.mu.Unlock()
			select {
			case <-running:
			case <-ctx.Done():
				return fmt.Errorf("flush: %w", ctx.Err())
			}
			continue
		}
		done := make(chan struct{})
		f.running = done
		f.mu.Unlock()
		start := time.Now()
		err := l.syncOnce()
		l.cfg.OnFlush(time.Since(start), err)
		f.mu.Lock()
		f.running = nil
		f.mu.Unlock()
		close(done)
		if err != nil {
			return fmt.Errorf("flush: %w", err)
		}
	}
	return nil
}

// sync is Flush of everything, without a bound on the wait.
func (l *Log) sync() error { return l.Flush(context.Background(), l.end.Load()) }

// syncOnce makes durable what is in the log now. One runs at a time.
func (l *Log) syncOnce() error {
	f := &l.flush
	end := l.end.Load() // before the files: they hold at least what is below it
	created := f.created.Load()
	for _, s := range *l.segs.Load() {
		size := s.size.Load()
		if s.synced.Load() >= size {
			continue
		}
		err := s.acquire()
		if errors.Is(err, errGone) { // deleted meanwhile
			continue
		}
		if err == nil {
			failpoint.Hit(failpoint.BeforeFsync)
			if !mutant.On(mutant.SkipFsync) {
				err = s.file().Sync()
			}
			s.release()
		}
		if err != nil {
			return l.fail(err)
		}
		s.synced.Store(size)
	}
	if f.listed < created {
		if err := l.cfg.FS.SyncDir(l.cfg.Dir); err != nil {
			return l.fail(err)
		}
		f.listed = created
	}
	f.upTo.Store(end)
	return nil
}

// flushLater lets FlushInterval sync one interval from now, unless that is under
// way. The caller holds mu.
func (l *Log) flushLater() {
	flush := l.Tuning().Flush
	if flush.Mode != FlushInterval || l.flushSoon {
		return
	}
	l.flushSoon = true
	l.wg.Go(func() {
		timer := time.NewTimer(flush.Interval)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.stop: // Close syncs
			return
		}
		l.mu.Lock()
		l.flushSoon = false
		l.mu.Unlock()
		_ = l.sync() // a failure is logged, and kept for the appends to come
	})
}
