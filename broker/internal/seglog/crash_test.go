// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

// A trace drives a log through appends, flushes, rolls, deletions and restarts,
// and after each effect on the disk lets it crash in several ways. Every disk that
// a crash may leave must open as a log that holds what the model says.
type trace struct {
	t       testing.TB
	seed    uint64
	disk    *vfs.CrashMem
	cfg     seglog.Config
	limit   int64 // of the disk that goes on after a crash
	crashes int   // ways to crash at each effect
	id      int64 // of its idempotent producer
	log     *seglog.Log

	mu       sync.Mutex // the model: the log's goroutines have effects, too
	values   []string   // by offset: all that was appended, and what is being appended
	batches  []sent
	durable  int64 // a flush up to here returned
	minStart int64 // log start offset before and after a deletion under way
	maxStart int64
	effects  int
}

// sent is one batch of the trace's idempotent producer.
type sent struct {
	base, next int64
	bytes      []byte
}

func newTrace(t testing.TB, seed uint64, crashes int, flush seglog.FlushPolicy) *trace {
	tr := &trace{t: t, seed: seed, disk: vfs.NewCrashMem(), crashes: crashes}
	tr.cfg = seglog.Config{Dir: dir, FS: tr.disk, SegmentBytes: 4000, IndexIntervalBytes: 500, Flush: flush}
	must(t, tr.disk.MkdirAll("/data", 0o755))
	must(t, tr.disk.SyncDir("/"))
	tr.disk.OnEffect(tr.crash)
	tr.open()
	return tr
}

func (tr *trace) open() {
	l, err := seglog.Open(tr.cfg)
	if err != nil {
		tr.t.Fatalf("seed %d: open: %v", tr.seed, err)
	}
	tr.mu.Lock()
	tr.log = l
	tr.mu.Unlock()
}

// append appends a batch of n records with values of size bytes.
func (tr *trace) append(n, size int, epoch int32) {
	recs := make([]seglog.Record, n)
	tr.mu.Lock()
	base := int64(len(tr.values))
	for i := range recs {
		v := fmt.Sprintf("%d/%d/%s", len(tr.batches), i, strings.Repeat("x", size))
		recs[i] = seglog.Record{Timestamp: base + int64(i), Value: []byte(v)}
		tr.values = append(tr.values, v)
	}
	b := seglog.BuildBatch(recs, seglog.WithProducer(tr.id, 0, int32(base)))
	tr.batches = append(tr.batches, sent{base, base + int64(n), bytes.Clone(b)})
	tr.mu.Unlock()
	a, err := tr.log.Append(b, epoch, time.Now())
	if err != nil || a.BaseOffset != base {
		tr.t.Fatalf("seed %d: append = %+v, %v, want offset %d", tr.seed, a, err, base)
	}
}

func (tr *trace) flush() {
	end := tr.log.LogEndOffset()
	must(tr.t, tr.log.Flush(context.Background(), end))
	tr.mu.Lock()
	tr.durable = max(tr.durable, end)
	tr.mu.Unlock()
}

func (tr *trace) deleteRecords(upTo int64) {
	tr.mu.Lock()
	tr.maxStart = max(tr.maxStart, upTo)
	tr.mu.Unlock()
	_, err := tr.log.DeleteRecords(upTo)
	must(tr.t, err)
	tr.mu.Lock()
	tr.minStart = tr.maxStart
	tr.mu.Unlock()
}

func (tr *trace) reopen() {
	must(tr.t, tr.log.Close())
	tr.mu.Lock()
	tr.durable = int64(len(tr.values))
	tr.mu.Unlock()
	tr.open()
}

// goOnAfterCrash takes one of the disks that a crash may leave, and the model
// that goes with what was recovered from it.
func (tr *trace) goOnAfterCrash(rng *rand.Rand) {
	disk := tr.disk.Crash(rng)
	tr.mu.Lock()
	old := tr.log
	crashes := tr.crashes
	tr.crashes, tr.log = 0, nil // the old log ends unobserved
	tr.mu.Unlock()
	must(tr.t, old.Close())
	tr.crashes, tr.disk, tr.cfg.FS = crashes, disk, disk
	disk.OnEffect(tr.crash)
	disk.Limit(tr.limit)
	tr.open()
	start, end := tr.log.LogStartOffset(), tr.log.LogEndOffset()
	if int(end) > len(tr.values) { // it begins anew behind a gap: so does the producer
		tr.values = append(tr.values, make([]string, int(end)-len(tr.values))...)
		tr.id++
	}
	tr.values, tr.durable, tr.minStart, tr.maxStart = tr.values[:end], end, start, start
	tr.batches = slices.DeleteFunc(tr.batches, func(s sent) bool { return s.next > end })
}

// crash is called after each effect.
func (tr *trace) crash(n int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.effects = n
	durable := tr.durable
	if tr.log != nil { // what the log itself claims holds as well
		durable = max(durable, tr.log.FlushedOffset())
	}
	for i := range tr.crashes {
		rng := rand.New(rand.NewPCG(tr.seed, uint64(n*1000+i)))
		if err := tr.check(tr.disk.Crash(rng), rng, durable); err != nil {
			tr.t.Errorf("seed %d: crash %d after effect %d: %v", tr.seed, i, n, err)
		}
	}
}

// check recovers a disk, also from a crash during the recovery, and compares it
// with the model.
func (tr *trace) check(disk *vfs.CrashMem, rng *rand.Rand, durable int64) error {
	cfg := tr.cfg
	cfg.FS = disk
	var again *vfs.CrashMem
	opening, stopAt := true, 1+rng.IntN(8)
	disk.OnEffect(func(n int) {
		if opening && n == stopAt {
			again = disk.Crash(rng)
		}
	})
	l, err := seglog.Open(cfg)
	opening = false
	if err != nil {
		return fmt.Errorf("recovery: %w", err)
	}
	if err := tr.compare(l, durable); err != nil {
		_ = l.Close()
		return err
	}
	// Recovered state is durable at once: a second crash and recovery change nothing.
	want := logBytes(disk)
	second := disk.Crash(rng)
	cfg.FS = second
	l2, err := seglog.Open(cfg)
	if err != nil {
		_ = l.Close()
		return fmt.Errorf("second recovery: %w", err)
	}
	if got := logBytes(second); got != want {
		err = errors.New("a second recovery gives other bytes")
	}
	err = errors.Join(err, l2.Close(), tr.goOn(l), l.Close())
	if err == nil && again != nil {
		cfg.FS = again
		if l, err = seglog.Open(cfg); err != nil {
			return fmt.Errorf("recovery after a crash in a recovery: %w", err)
		}
		err = errors.Join(tr.compare(l, durable), l.Close())
	}
	return err
}

// compare checks the log's content: dense, unchanged, nothing durable is missing.
func (tr *trace) compare(l *seglog.Log, durable int64) error {
	start, end := l.LogStartOffset(), l.LogEndOffset()
	if start < tr.minStart || start > tr.maxStart {
		return fmt.Errorf("log start offset %d, want %d to %d", start, tr.minStart, tr.maxStart)
	}
	if end < durable || end > max(start, int64(len(tr.values))) {
		return fmt.Errorf("log end offset %d, durable are %d, appended %d", end, durable, len(tr.values))
	}
	for next := start; next < end; {
		r, err := l.Read(next, 1<<20, end, true)
		if err != nil {
			return err
		}
		if len(r.Data) == 0 {
			return fmt.Errorf("nothing at offset %d", next)
		}
		if err := eachBatch(r.Data, func(b []byte) error {
			if _, err := seglog.ValidateBatch(b, 1<<20); err != nil {
				return err
			}
			return seglog.EachRecord(b, func(rec seglog.Record) error {
				if string(rec.Value) != tr.values[rec.Offset] {
					return fmt.Errorf("offset %d holds %.20q, want %.20q", rec.Offset, rec.Value, tr.values[rec.Offset])
				}
				return nil
			})
		}); err != nil {
			return err
		}
		next = r.NextOffset
	}
	return nil
}

// goOn sends the last batch that survived once more, and then a new one.
func (tr *trace) goOn(l *seglog.Log) error {
	end := l.LogEndOffset()
	for _, s := range tr.batches {
		if s.next != end || s.base < l.LogStartOffset() {
			continue
		}
		a, err := l.Append(bytes.Clone(s.bytes), 1000, time.Now())
		if err != nil || !a.Duplicate || a.BaseOffset != s.base {
			return fmt.Errorf("the batch at %d sent again: %+v, %w, want a duplicate", s.base, a, err)
		}
	}
	a, err := l.Append(batch("after", 1, 0), 1000, time.Now())
	if err != nil || a.BaseOffset != end {
		return fmt.Errorf("append after the recovery: %+v, %w, want offset %d", a, err, end)
	}
	if _, err := l.Read(end, 1<<20, end+1, true); err != nil {
		return fmt.Errorf("read after the recovery: %w", err)
	}
	return nil
}

// logBytes is the content of all log files, by name.
func logBytes(fsys vfs.FS) string {
	var b strings.Builder
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return err.Error()
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".log" {
			continue
		}
		f, err := fsys.OpenFile(filepath.Join(dir, e.Name()), os.O_RDONLY, 0)
		if err != nil {
			return err.Error()
		}
		size, _ := f.Size()
		p := make([]byte, size)
		_, _ = f.ReadAt(p, 0)
		_ = f.Close()
		fmt.Fprintf(&b, "%s %x\n", e.Name(), p)
	}
	return b.String()
}

var policies = map[string]seglog.FlushPolicy{
	"os":       {Mode: seglog.FlushOS},
	"batch":    {Mode: seglog.FlushBatch},
	"interval": {Mode: seglog.FlushInterval, Interval: time.Second},
}

// TestEachCrashPoint tries every crash point of a short trace under each policy.
func TestEachCrashPoint(t *testing.T) {
	for name, policy := range policies {
		t.Run("flush="+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := newTrace(t, 1, crashesPerEffect(t, 24), policy)
				step := func(n, size int, epoch int32) {
					tr.append(n, size, epoch)
					if policy.Mode == seglog.FlushBatch {
						tr.flush()
					}
					time.Sleep(300 * time.Millisecond)
					synctest.Wait()
				}
				step(2, 100, 0)
				step(1, 1500, 0)
				step(3, 300, 1)
				step(1, 1700, 1) // rolls
				step(2, 200, 2)
				tr.deleteRecords(1)
				step(1, 3000, 2) // rolls
				tr.deleteRecords(7)
				step(1, 10, 2)
				tr.reopen()
				step(2, 20, 3)
				step(1, 4100, 3) // rolls, longer than a segment
				step(1, 10, 3)   // rolls
				tr.deleteRecords(int64(len(tr.values)))
				step(1, 10, 4)
				tr.reopen()
				must(t, tr.log.Close())
				t.Logf("%d effects", tr.effects)
			})
		})
	}
}

// TestFlushedBatchesSurviveCrash appends and flushes, and crashes after each effect:
// what was flushed must be there. It fails when Flush does not sync (mutant skip-fsync).
func TestFlushedBatchesSurviveCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrace(t, 2, crashesPerEffect(t, 40), seglog.FlushPolicy{Mode: seglog.FlushBatch})
		for i := range 8 {
			tr.append(1+i%3, 200*i, int32(i/4))
			tr.flush()
			synctest.Wait()
			tr.crash(1000 + i) // with nothing under way
		}
		must(t, tr.log.Close())
	})
}

// TestRandomCrashes runs long traces by seed. SEED=n runs that one alone,
// MILLRACE_LONG=1 more of them.
func TestRandomCrashes(t *testing.T) {
	seeds := make([]uint64, 9)
	if os.Getenv("MILLRACE_LONG") != "" {
		seeds = make([]uint64, 300)
	}
	for i := range seeds {
		seeds[i] = uint64(i + 100)
	}
	if testing.Short() {
		seeds = seeds[:3]
	}
	if s := os.Getenv("SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		must(t, err)
		seeds = []uint64{n}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomTrace(t, seed) })
		})
	}
}

func randomTrace(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	policy := policies[[]string{"os", "batch", "interval"}[seed%3]]
	tr := newTrace(t, seed, 1, policy)
	epoch := int32(0)
	for range 60 {
		switch rng.IntN(12) {
		case 0:
			tr.flush()
		case 1:
			tr.deleteRecords(rng.Int64N(tr.log.LogEndOffset() + 1))
		case 2:
			tr.reopen()
		case 3:
			epoch++
		case 4:
			time.Sleep(time.Second)
		case 5:
			tr.goOnAfterCrash(rng)
		default:
			tr.append(1+rng.IntN(4), rng.IntN(1200), epoch)
		}
		if rng.IntN(3) > 0 { // else the next step comes beside the settling of this one
			synctest.Wait()
		}
	}
	must(t, tr.log.Close())
}

// crashesPerEffect is n for MILLRACE_LONG, and otherwise what fits into seconds.
func crashesPerEffect(t testing.TB, n int) int {
	t.Helper()
	switch {
	case os.Getenv("MILLRACE_LONG") != "":
		return n
	case testing.Short():
		return n / 8
	}
	return n / 4
}
