// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/internal/failpoint"
	"github.com/millrace/millrace/internal/vfs"
)

const (
	logSuffix      = ".log"
	indexSuffix    = ".index"
	timeSuffix     = ".timeindex"
	snapshotSuffix = ".snapshot"
	tempSuffix     = ".tmp"
	cleanedSuffix  = ".cleaned" // of a compacted segment that is being written
	swapSuffix     = ".swap"    // of one that is to take its place
	deletedSuffix  = ".deleted" // of a log file that waits for its removal

	filePerm = 0o644
	dirPerm  = 0o755
)

// errGone says that a segment was deleted, or compacted, since its list was loaded.
var errGone = errors.New("segment is gone")

// A segment is one file of the log and its indexes. One goroutine appends; any
// may read what was published.
type segment struct {
	log    *Log
	base   int64  // no batch begins before this offset
	path   string // where it belongs
	handle handle
	refs   atomic.Int32 // one for the log's list, one for each reader; 0: the file is closed
	size   atomic.Int64 // bytes of whole batches, published after they are written

	build     indexer // the appender's
	firstSeen int64   // the appender's: ms of wall time at the first append, 0: not known

	synced atomic.Int64 // bytes known to be durable

	files   sync.Mutex // held over the writing of index files
	retired bool       // guarded by files: the index files are another segment's, or nobody's

	mu      sync.Mutex
	idx     *indexes  // guarded by mu; nil: in the files only
	written bool      // guarded by mu: the index files hold idx
	max     timeEntry // guarded by mu: highest timestamp, its batch; valid if hasMax
	hasMax  bool      // guarded by mu
}

func fileName(dir string, offset int64, suffix string) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", offset, suffix))
}

// parseName is the offset in a file's name; ok is false for other files.
func parseName(name, suffix string) (offset int64, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	offset, err := strconv.ParseInt(digits, 10, 64)
	return offset, err == nil && offset >= 0 && digits[0] != '+'
}

// newSegment returns the segment at base whose file lies at path for now.
func (l *Log) newSegment(base int64, path string) *segment {
	s := &segment{log: l, base: base, path: fileName(l.cfg.Dir, base, logSuffix)}
	s.build.interval = int64(l.Tuning().IndexIntervalBytes)
	s.handle = handle{files: l.cfg.Handles, fs: l.cfg.FS, path: path, dirty: s.dirty}
	s.refs.Store(1)
	return s
}

// openSegment returns the segment at base, whose file exists.
func (l *Log) openSegment(base int64) (*segment, error) {
	path := fileName(l.cfg.Dir, base, logSuffix)
	info, err := l.cfg.FS.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	s := l.newSegment(base, path)
	s.size.Store(info.Size())
	return s, nil
}

// acquire keeps the file open until release. It fails with errGone if that is
// too late.
func (s *segment) acquire() error {
	for {
		n := s.refs.Load()
		if n == 0 {
			return errGone
		}
		if s.refs.CompareAndSwap(n, n+1) {
			break
		}
	}
	err := s.handle.pin()
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) && (s.isRetired() || s.log.closed.Load()) {
		err = errGone // taken off the list and removed between the two
	}
	s.drop()
	return err
}

// release ends what acquire began.
func (s *segment) release() {
	s.handle.unpin()
	s.drop()
}

// drop gives up a reference.
func (s *segment) drop() {
	if s.refs.Add(-1) == 0 {
		s.handle.close()
	}
}

// file is the open file, between acquire and release.
func (s *segment) file() vfs.File { return s.handle.f }

func (s *segment) truncate(size int64) error {
	if err := s.acquire(); err != nil {
		return err
	}
	defer s.release()
	return s.file().Truncate(size)
}

func (s *segment) sync() error {
	if err := s.acquire(); err != nil {
		return err
	}
	defer s.release()
	return s.file().Sync()
}

// dirty reports whether there are bytes that no sync has covered.
func (s *segment) dirty() bool { return s.synced.Load() < s.size.Load() }

// index returns the indexes: from memory, else from the files, else made anew
// from the log file. It is safe beside the appender. The caller has acquired s.
func (s *segment) index() (indexes, error) {
	s.mu.Lock()
	if s.idx != nil {
		x := *s.idx
		s.mu.Unlock()
		return x, nil
	}
	s.mu.Unlock()
	x, err := s.readIndex()
	if err == nil && s.isRetired() {
		err = errGone // the files may be those of the segment in its place
	}
	if err != nil {
		return s.rebuildIndex(err)
	}
	s.keepIndex(x, true)
	return *x, nil
}

func (s *segment) isRetired() bool {
	s.files.Lock()
	defer s.files.Unlock()
	return s.retired
}

// retire leaves the index files to the segment that takes this one's place.
func (s *segment) retire() {
	s.files.Lock()
	defer s.files.Unlock()
	s.retired = true
}

// keepIndex holds the indexes of a sealed segment in memory, for some time.
func (s *segment) keepIndex(x *indexes, written bool) {
	s.mu.Lock()
	s.idx, s.written = x, written
	s.mu.Unlock()
	if old := s.log.loaded.add(s); old != nil {
		old.mu.Lock()
		defer old.mu.Unlock()
		if old.written {
			old.idx = nil
		}
	}
}

// A ring holds the sealed segments whose indexes were loaded last: those of a
// long log don't fit into memory.
type ring struct {
	mu   sync.Mutex
	segs [4]*segment // guarded by mu
	at   int         // guarded by mu: the oldest
}

// add puts s in place of the oldest, which it returns.
func (r *ring) add(s *segment) *segment {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.segs[:], s) {
		return nil
	}
	old := r.segs[r.at]
	r.segs[r.at] = s
	r.at = (r.at + 1) % len(r.segs)
	return old
}

// readIndex reads the index files.
func (s *segment) readIndex() (*indexes, error) {
	dir := filepath.Dir(s.path)
	size := s.size.Load()
	limit := size/HeaderSize*timeEntrySize + indexTrailer
	offsets, err1 := readFile(s.log.cfg.FS, fileName(dir, s.base, indexSuffix), limit)
	times, err2 := readFile(s.log.cfg.FS, fileName(dir, s.base, timeSuffix), limit)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	return decodeIndexes(offsets, times, size)
}

// rebuildIndex makes the indexes from the log file, and writes them unless the
// segment is the active one. Where the file is damaged they end: who reads on will
// meet the damage.
func (s *segment) rebuildIndex(cause error) (indexes, error) {
	if !errors.Is(cause, errGone) {
		s.log.cfg.Logger.Warn("rebuild index of segment", "file", s.path, "cause", cause)
	}
	active := s == s.log.active() // before the size: one that is sealed grows no more
	x, b := &indexes{}, indexer{interval: s.build.interval}
	w := newWalker(s, 0, s.base, s.size.Load(), scanWindow)
	for {
		h, pos, err := w.next()
		if _, damaged := errors.AsType[*CorruptError](err); damaged || errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return indexes{}, err
		}
		b.add(x, &h, int32(h.BaseOffset-s.base), pos)
	}
	b.flushTime(x)
	if active {
		if !s.mergeIndex(x, &b, w.end, int32(w.want-s.base)) {
			return s.rebuildIndex(errGone)
		}
		return *x, nil
	}
	s.keepIndex(x, false)
	s.mu.Lock()
	s.max, s.hasMax = b.max, b.any
	s.mu.Unlock()
	if err := s.writeIndex(false); err != nil {
		s.log.cfg.Logger.Warn("write rebuilt index", "file", s.path, "cause", err)
	}
	return *x, nil
}

// mergeIndex puts x, made by b from the first size bytes, in the place of the active
// segment's indexes, and adds to it what the appender entered meanwhile: batches from
// rel on. It answers false if the segment was sealed meanwhile and its indexes written.
func (s *segment) mergeIndex(x *indexes, b *indexer, size int64, rel int32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idx == nil {
		return false
	}
	for _, e := range s.idx.offsets {
		if int64(e.pos) >= size {
			x.offsets = append(x.offsets, e)
		}
	}
	for _, e := range s.idx.times {
		if n := len(x.times); e.rel >= rel && (n == 0 || x.times[n-1].ts < e.ts) {
			x.times = append(x.times, e)
		}
	}
	if b.any && (!s.build.any || b.max.ts > s.build.max.ts) {
		s.build.max, s.build.any = b.max, true
	}
	s.idx, s.written = &indexes{slices.Clip(x.offsets), slices.Clip(x.times)}, false
	s.max, s.hasMax = s.build.max, s.build.any
	return true
}

// maxTimestamp is the highest timestamp of the segment and the offset of the
// first batch that has it; ok is false if the segment is empty. An index whose
// last entry leads to no such batch is made anew: retention deletes by it.
func (s *segment) maxTimestamp() (ts, base int64, ok bool, err error) {
	s.mu.Lock()
	if s.hasMax {
		defer s.mu.Unlock()
		return s.max.ts, s.base + int64(s.max.rel), true, nil
	}
	s.mu.Unlock()
	x, err := s.index()
	if err != nil || len(x.times) == 0 {
		return 0, 0, false, err
	}
	last := x.times[len(x.times)-1]
	if err := s.checkTime(&x, last); err != nil {
		if x, err = s.rebuildFor(err); err != nil || len(x.times) == 0 {
			return 0, 0, false, err
		}
		last = x.times[len(x.times)-1]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hasMax {
		s.max, s.hasMax = last, true
	}
	return s.max.ts, s.base + int64(s.max.rel), true, nil
}

// add takes note of a batch at pos in the indexes. It is the appender's.
func (s *segment) add(h *Header, pos int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idx == nil {
		s.idx = &indexes{}
	}
	s.build.add(s.idx, h, int32(h.BaseOffset-s.base), pos)
	s.max, s.hasMax, s.written = s.build.max, s.build.any, false
}

// indexBytes is the length of the longer of the indexes, 0 if they are not in
// memory. It is the appender's.
func (s *segment) indexBytes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idx == nil {
		return 0
	}
	return max(len(s.idx.offsets)*offsetEntrySize, len(s.idx.times)*timeEntrySize)
}

// writeIndex writes the index files if they are not as in memory. With drop, the
// copy in memory is given up. No append may run beside it.
func (s *segment) writeIndex(drop bool) error {
	s.mu.Lock()
	if s.idx == nil || s.written {
		s.mu.Unlock()
		return nil
	}
	s.build.flushTime(s.idx)
	x := *s.idx
	s.mu.Unlock()
	s.files.Lock()
	defer s.files.Unlock()
	if s.retired {
		return nil
	}
	offsets, times := x.encode(s.size.Load())
	dir := filepath.Dir(s.path)
	failpoint.Hit(failpoint.IndexWrite)
	if err := writeFile(s.log.cfg.FS, fileName(dir, s.base, indexSuffix), offsets); err != nil {
		return err
	}
	if err := writeFile(s.log.cfg.FS, fileName(dir, s.base, timeSuffix), times); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written = true
	if drop {
		s.idx = nil
	}
	return nil
}

// removeFiles removes the files of the segment at base, the log file first:
// indexes without it are swept up by the next Open.
func removeFiles(fsys vfs.FS, dir string, base int64) error {
	var errs []error
	for _, suffix := range []string{logSuffix, indexSuffix, timeSuffix} {
		if err := fsys.Remove(fileName(dir, base, suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
