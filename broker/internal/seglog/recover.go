// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"github.com/millrace/millrace/internal/vfs"
)

// Open opens the log in cfg.Dir, or makes an empty one. After an unclean stop it
// checks what was written since the recovery point and cuts off what is torn; damage
// below the recovery point, where all was durable, is a [*CorruptError] and nothing
// is changed. The rules are in docs/format/segment.md. One Log may be open for a
// folder at a time: the broker's lock on its data folder sees to that.
func Open(cfg Config) (*Log, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &Log{cfg: cfg, producers: newProducers(cfg.ProducerExpiry), stop: make(chan struct{})}
	r := &recovery{l: l}
	if err := r.run(); err != nil {
		for _, s := range r.segs {
			s.drop()
		}
		return nil, fmt.Errorf("open log %s: %w", cfg.Dir, err)
	}
	return l, nil
}

// A recovery brings a folder's files back to a log. It runs on one goroutine,
// before anybody else sees the log.
type recovery struct {
	l     *Log
	segs  []*segment
	files dirFiles

	marked  bool  // there is a checkpoint
	start   int64 // log start offset
	durable int64 // recovery point: all below was durable
	clean   bool  // the log was closed, nothing needs a check
	last    int64 // if clean: base of the last segment
	lastLen int64 // if clean: its bytes
	from    int64 // where the scan of batch headers begins
	gone    int   // of so many segments, all below the log start offset, something is missing

	snapshot int64 // of the producers' state, -1 if there is none
	known    int64 // the producers' state is loaded up to here
}

func (r *recovery) run() error {
	for _, step := range []func() error{
		r.makeDir, r.completeSwaps, r.readMarks, r.loadProducers, r.openSegments, r.loadEpochs, r.scan, r.finish,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// makeDir makes the folder if there is none, and lists its files.
func (r *recovery) makeDir() error {
	fsys, dir := r.l.cfg.FS, r.l.cfg.Dir
	if _, err := fsys.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := fsys.MkdirAll(dir, dirPerm); err != nil {
			return err
		}
	}
	var err error
	r.files, err = r.l.listFiles()
	return err
}

// readMarks reads the marks of a clean stop, if there are any, and the checkpoint.
func (r *recovery) readMarks() error {
	l := r.l
	start, durable, err := l.readCheckpoint(r.files.moved)
	switch {
	case err == nil:
		r.marked, r.start, r.durable = true, start, durable
	case len(r.files.segments) == 0 && errors.Is(err, fs.ErrNotExist): // a new log
	case len(r.files.segments) == 0 && errors.Is(err, errMark): // where to go on from is lost
		return &CorruptError{File: filepath.Join(l.cfg.Dir, checkpointName), Cause: err}
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, errMark):
		r.start, r.durable = r.files.segments[0], r.files.segments[0]
		l.cfg.Logger.Warn("no usable checkpoint: all batches are checked", "dir", l.cfg.Dir, "cause", err)
	default:
		return err
	}
	if err := r.readCleaned(); err != nil {
		return err
	}
	mark, cerr := l.readMark(cleanName, cleanMagic, cleanFields)
	if errors.Is(cerr, fs.ErrNotExist) {
		return nil
	}
	if cerr == nil && err == nil && mark[0] >= r.start {
		r.clean, r.durable, r.last, r.lastLen = true, mark[0], mark[1], mark[2]
	}
	// No sync: a crash may bring the mark back. It then vouches for the same bytes as
	// before, which are durable and never change, or the lengths differ.
	if err := l.cfg.FS.Remove(filepath.Join(l.cfg.Dir, cleanName)); err != nil {
		return fmt.Errorf("remove mark of the clean stop: %w", err)
	}
	return nil
}

// readCleaned reads how far the log was compacted. Without the file it was not;
// with one that can't be read, it may have been up to the recovery point.
func (r *recovery) readCleaned() error {
	l := r.l
	mark, err := l.readMark(cleanerName, cleanerMagic, cleanerFields)
	switch {
	case err == nil:
		l.cleaned.Store(mark[0])
		l.sparse.Store(mark[1])
	case errors.Is(err, errMark):
		l.sparse.Store(r.durable)
		l.cfg.Logger.Warn("unusable cleaner checkpoint: the log will be compacted anew", "dir", l.cfg.Dir)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read cleaner checkpoint: %w", err)
	}
	return nil
}

// loadProducers reads the newest snapshot of the producers' state that can be
// trusted.
func (r *recovery) loadProducers() error {
	l := r.l
	r.snapshot = -1
	for _, at := range slices.Backward(r.files.snapshots) {
		if at > r.durable {
			continue // of batches that may be gone
		}
		b, err := readFile(l.cfg.FS, fileName(l.cfg.Dir, at, snapshotSuffix), 1<<30)
		if err == nil {
			err = l.producers.decode(b, at)
		}
		if err == nil {
			r.snapshot = at
			return nil
		}
		l.cfg.Logger.Warn("unusable producer snapshot", "dir", l.cfg.Dir, "offset", at, "cause", err)
	}
	return nil
}

// openSegments opens the segment files, without those that lie wholly below the
// log start offset and the snapshot: a crash came before their removal was done.
func (r *recovery) openSegments() error {
	l, bases := r.l, r.files.segments
	for len(bases) > 1 && bases[1] <= min(r.start, r.snapshot) {
		if err := removeFiles(l.cfg.FS, l.cfg.Dir, bases[0]); err != nil {
			return err
		}
		bases = bases[1:]
	}
	for _, base := range bases {
		s, err := l.openSegment(base)
		if err != nil {
			return err
		}
		r.segs = append(r.segs, s)
	}
	if n := len(r.segs); r.clean && (n == 0 || r.segs[n-1].base != r.last || r.segs[n-1].size.Load() != r.lastLen) {
		r.clean = false
		l.cfg.Logger.Warn("files changed since the clean stop", "dir", l.cfg.Dir)
	}
	return nil
}

// loadEpochs reads the leader epochs; without the file they come from the batches.
// With it and the snapshot it is known where the scan begins.
func (r *recovery) loadEpochs() error {
	r.from = math.MaxInt64
	l := r.l
	b, err := readFile(l.cfg.FS, filepath.Join(l.cfg.Dir, epochsName), 64<<20)
	if err == nil {
		l.epochs.list, err = decodeEpochs(b)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.cfg.Logger.Warn("rebuild leader epochs", "dir", l.cfg.Dir, "cause", err)
		}
		r.from, l.epochs.dirty = r.start, true
	}
	r.known = r.snapshot
	if r.snapshot < 0 {
		r.known = r.start
		if len(r.segs) > 0 {
			r.known = min(r.start, r.segs[0].base) // also from what was deleted and is still there
		}
	}
	r.from = min(r.from, r.known)
	if !r.clean {
		r.from = min(r.from, r.durable)
	}
	return nil
}

// scan goes over the batches from r.from on and cuts the log where it is torn.
func (r *recovery) scan() error {
	want := r.start
	if len(r.segs) > 0 && r.segs[0].base < want {
		want = r.segs[0].base
	}
	for i, s := range r.segs {
		last := i == len(r.segs)-1
		if i == 0 && s.base > want { // no compaction takes the head
			return r.cut(0, false, &CorruptError{File: s.path, Offset: want, Cause: fmt.Errorf("segment begins at offset %d", s.base)})
		}
		if !last && r.segs[i+1].base <= r.from {
			want = r.segs[i+1].base
			continue
		}
		if s.base <= r.start && !r.meets(s.base, want) {
			r.gone, want = i, s.base // the removal of those before it was cut short
		}
		var next int64
		var err error
		switch {
		case !r.meets(s.base, want):
			err = &CorruptError{File: s.path, Offset: want, Cause: fmt.Errorf("segment begins at offset %d", s.base)}
		case last && r.clean && r.from >= r.durable:
			next, err = r.loadLast(s)
		default:
			next, err = r.scanSegment(s)
		}
		if ce, ok := errors.AsType[*CorruptError](err); ok {
			if !last && r.segs[i+1].base <= r.start {
				r.gone, want = i+1, r.segs[i+1].base // nobody reads it any more
				continue
			}
			return r.cut(i, r.meets(s.base, want), ce)
		}
		if err != nil {
			return err
		}
		want = next
	}
	r.l.end.Store(want)
	return r.checkEnd(want)
}

// meets tells whether a segment at base may come where want is the next offset:
// a compaction may have taken the batches between.
func (r *recovery) meets(base, want int64) bool {
	return base == want || base > want && base <= r.l.sparse.Load()
}

// mustHave reports whether something from offset on was durable and not deleted.
// What is below the log start offset may be there in part: segments are removed
// one by one, and a crash brings back some of them.
func (r *recovery) mustHave(offset int64) bool {
	return offset < r.durable && r.start < r.durable
}

// checkEnd refuses a log that ends too early without a sign of damage.
func (r *recovery) checkEnd(end int64) error {
	if !r.mustHave(end) {
		return nil
	}
	e := &CorruptError{File: r.l.cfg.Dir, Offset: end, Cause: fmt.Errorf("log ends, but was durable up to offset %d", r.durable)}
	if n := len(r.segs); n > 0 {
		e.File, e.Position = r.segs[n-1].path, r.segs[n-1].size.Load()
	}
	return e
}

// loadLast takes the last segment as a clean stop left it, if its indexes can be
// read, and returns the log end offset.
func (r *recovery) loadLast(s *segment) (int64, error) {
	x, err := s.readIndex()
	if err == nil {
		err = r.checkIndex(s, x)
	}
	if err != nil {
		r.l.cfg.Logger.Warn("rebuild index of segment", "file", s.path, "cause", err)
		return r.scanSegment(s)
	}
	s.idx, s.written = x, true
	if n := len(x.times); n > 0 {
		s.build.max, s.build.any = x.times[n-1], true
		s.max, s.hasMax = s.build.max, true
	}
	s.build.since = s.size.Load()
	if n := len(x.offsets); n > 0 {
		s.build.since -= int64(x.offsets[n-1].pos)
	}
	return r.durable, nil
}

// checkIndex looks at what the appender will build upon: the last entries of the
// indexes of the last segment.
func (r *recovery) checkIndex(s *segment, x *indexes) error {
	n := len(x.times)
	if n == 0 {
		return nil // so is the segment
	}
	if err := s.acquire(); err != nil {
		return err
	}
	defer s.release()
	if m := len(x.offsets); m > 0 {
		if _, err := s.walkAt(x.offsets[m-1]); err != nil {
			return err
		}
	}
	return s.checkTime(x, x.times[n-1])
}

// scanSegment goes over one segment's batches, checks the CRC of those that need
// not be durable, and returns the offset after the last. It builds the indexes.
func (r *recovery) scanSegment(s *segment) (int64, error) {
	if err := s.acquire(); err != nil {
		return 0, err
	}
	defer s.release()
	w := newWalker(s, 0, s.base, s.size.Load(), scanWindow)
	s.idx = &indexes{}
	for {
		h, pos, err := w.next()
		if errors.Is(err, io.EOF) {
			return w.want, nil
		}
		if err != nil {
			return 0, err
		}
		if h.NextOffset() > r.durable {
			if err := w.checkCRC(&h, pos); err != nil {
				return 0, err
			}
		}
		s.add(&h, pos)
		if h.BaseOffset >= r.known {
			r.l.producers.update(&h, 0)
		}
		r.l.epochs.assign(h.LeaderEpoch, h.BaseOffset)
	}
}

// cut ends the log at the damage: segment i keeps what is before it (or goes, if
// it is in the wrong place as a whole), the segments after it go. What was
// durable is never cut.
func (r *recovery) cut(i int, keep bool, damage *CorruptError) error {
	if r.mustHave(damage.Offset) {
		return damage
	}
	l := r.l
	var lost int64
	if keep {
		s := r.segs[i]
		lost = s.size.Load() - damage.Position
		if err := s.truncate(damage.Position); err != nil {
			return fmt.Errorf("truncate %s: %w", s.path, err)
		}
		s.size.Store(damage.Position)
		i++
	}
	gone := r.segs[i:]
	r.segs = r.segs[:i:i]
	for _, s := range gone {
		lost += s.size.Load()
		s.drop()
		if err := removeFiles(l.cfg.FS, l.cfg.Dir, s.base); err != nil {
			return err
		}
	}
	l.cfg.Logger.Warn("log was torn and is cut", "file", damage.File, "position", damage.Position, "offset", damage.Offset,
		"bytes", lost, "segments", len(gone), "cause", damage.Cause)
	l.end.Store(damage.Offset)
	return nil
}

// finish makes what was found durable, so that it can be built upon, and
// publishes the log.
func (r *recovery) finish() error {
	l := r.l
	if end := l.end.Load(); end < r.start {
		// Records below the log start offset are all that is left: start anew there.
		r.gone = len(r.segs)
		l.end.Store(r.start)
	}
	for _, s := range r.segs[:r.gone] {
		s.drop()
		if err := removeFiles(l.cfg.FS, l.cfg.Dir, s.base); err != nil {
			return err
		}
	}
	r.segs = r.segs[r.gone:]
	if len(r.segs) == 0 {
		s, err := l.createSegment(l.end.Load())
		if err != nil {
			return err
		}
		r.segs = []*segment{s}
	}
	if err := r.removeStale(); err != nil {
		return err
	}
	l.start.Store(r.start)
	l.epochs.truncate(l.end.Load())
	l.epochs.deleteBefore(r.start)
	if err := r.sync(); err != nil {
		return err
	}
	if err := r.readAge(r.segs[len(r.segs)-1]); err != nil {
		return err
	}
	l.publish(r.segs)
	l.covered.Store(r.snapshot)
	l.flush.upTo.Store(l.end.Load())
	return nil
}

// removeStale removes unfinished files, and snapshots that tell of batches which
// are gone: once other batches have their offsets nobody could tell.
func (r *recovery) removeStale() error {
	l := r.l
	for _, name := range r.files.strays {
		if err := l.cfg.FS.Remove(filepath.Join(l.cfg.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, at := range r.files.snapshots {
		if at <= r.durable {
			continue
		}
		if err := l.cfg.FS.Remove(fileName(l.cfg.Dir, at, snapshotSuffix)); err != nil {
			return err
		}
	}
	return nil
}

// sync makes durable what an unclean stop left, and moves the recovery point to
// the end. The indexes of sealed segments that were scanned go to their files.
func (r *recovery) sync() error {
	l := r.l
	for i, s := range r.segs {
		if sealed := i < len(r.segs)-1; sealed && s.idx != nil {
			if err := s.writeIndex(true); vfs.IsFull(err) {
				l.cfg.Logger.Warn("the disk is full: an index stays in memory", "file", s.path, "cause", err)
			} else if err != nil {
				return err
			}
		}
		if !r.clean && s.idx != nil {
			if err := s.sync(); err != nil {
				return err
			}
		}
		s.synced.Store(s.size.Load())
	}
	l.recovery.Store(r.durable)
	if r.clean {
		return nil
	}
	created := l.flush.created.Load()
	for _, dir := range []string{l.cfg.Dir, filepath.Dir(l.cfg.Dir)} { // the folder itself may be new
		if err := l.cfg.FS.SyncDir(dir); err != nil {
			return err
		}
	}
	l.flush.listed = created
	err := l.writeCheckpoint(r.start, l.end.Load())
	if r.marked && vfs.IsFull(err) { // the next recovery begins where this one did
		l.cfg.Logger.Warn("the disk is full: the recovery point stays", "dir", l.cfg.Dir, "cause", err)
		return nil
	}
	return err
}

// readAge takes the time of a segment's first batch as its beginning.
func (r *recovery) readAge(s *segment) error {
	if s.size.Load() == 0 {
		return nil
	}
	if err := s.acquire(); err != nil {
		return err
	}
	defer s.release()
	h, _, err := newWalker(s, 0, s.base, s.size.Load(), HeaderSize).next()
	if err != nil {
		return err
	}
	s.firstSeen = max(0, h.MaxTimestamp)
	return nil
}
