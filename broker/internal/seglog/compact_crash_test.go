// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

// A compactTrace drives a log of keyed records through appends, compactions,
// deletions and restarts, and lets it crash after each effect on the disk. Every disk
// that a crash may leave must open as a log with the latest record of every key.
type compactTrace struct {
	t       testing.TB
	seed    uint64
	disk    *vfs.CrashMem
	cfg     seglog.Config
	p       seglog.Compaction
	crashes int
	log     *seglog.Log
	seq     int32 // of producer 7

	mu       sync.Mutex
	m        model
	last     []byte // the last batch of producer 7 that is durable for sure
	lastBase int64
	durable  int64
	effects  int
}

func newCompactTrace(t testing.TB, seed uint64, crashes int, delay time.Duration) *compactTrace {
	tr := &compactTrace{t: t, seed: seed, disk: newDisk(t), crashes: crashes, p: everything}
	tr.p.TombstoneLifetime = 1000 * time.Hour
	tr.cfg = seglog.Config{FS: tr.disk, Dir: dir, SegmentBytes: 700, IndexIntervalBytes: 200, FileDeleteDelay: delay, Handles: seglog.NewHandles(1)}
	tr.disk.OnEffect(tr.crash)
	tr.open()
	return tr
}

func (tr *compactTrace) open() {
	l, err := seglog.Open(tr.cfg)
	if err != nil {
		tr.t.Fatalf("seed %d: open: %v", tr.seed, err)
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.log = l
}

func (tr *compactTrace) append(codec seglog.Codec, idempotent bool, kvs ...string) {
	tr.mu.Lock()
	base := int64(len(tr.m.records))
	tr.m.records = append(tr.m.records, kvs...)
	tr.mu.Unlock()
	var opts []seglog.BatchOption
	if idempotent {
		opts = append(opts, seglog.WithProducer(7, 0, tr.seq))
		tr.seq += int32(len(kvs))
	}
	b, err := seglog.Packing{Repack: true, Codec: codec}.Pack(kvBatch(epochStart.UnixMilli()+base, opts, kvs...), 1<<20)
	must(tr.t, err)
	sent := append([]byte(nil), b...)
	a, err := tr.log.Append(b, 0, epochStart)
	if err != nil || a.BaseOffset != base {
		tr.t.Fatalf("seed %d: append = %+v, %v, want offset %d", tr.seed, a, err, base)
	}
	if idempotent {
		tr.flush()
		tr.mu.Lock()
		tr.last, tr.lastBase = sent, base
		tr.mu.Unlock()
	}
}

func (tr *compactTrace) flush() {
	end := tr.log.LogEndOffset()
	must(tr.t, tr.log.Flush(context.Background(), end))
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.durable = max(tr.durable, end)
}

func (tr *compactTrace) compact(c *seglog.Cleaner) {
	settled(tr.t, tr.log)
	compact(tr.t, tr.log, c, tr.p, epochStart)
	must(tr.t, tr.log.Sweep(time.Now()))
}

func (tr *compactTrace) reopen() {
	must(tr.t, tr.log.Close())
	tr.mu.Lock()
	tr.durable = int64(len(tr.m.records))
	tr.mu.Unlock()
	tr.open()
}

// goOnAfterCrash takes one of the disks that a crash may leave.
func (tr *compactTrace) goOnAfterCrash(rng *rand.Rand) {
	disk := tr.disk.Crash(rng)
	tr.mu.Lock()
	old, crashes := tr.log, tr.crashes
	tr.crashes, tr.log = 0, nil // the old log ends unobserved
	tr.mu.Unlock()
	must(tr.t, old.Close())
	tr.crashes, tr.disk, tr.cfg.FS, tr.cfg.Handles = crashes, disk, disk, seglog.NewHandles(1)
	disk.OnEffect(tr.crash)
	tr.open()
	end := tr.log.LogEndOffset()
	tr.m.records, tr.durable = tr.m.records[:end], end
}

// crash is called after each effect.
func (tr *compactTrace) crash(n int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.effects++
	durable := tr.durable
	if tr.log != nil {
		durable = max(durable, tr.log.FlushedOffset())
	}
	for i := range tr.crashes {
		rng := rand.New(rand.NewPCG(tr.seed, uint64(n*1000+i)))
		if err := tr.check(tr.disk.Crash(rng), rng, durable); err != nil {
			tr.t.Errorf("seed %d: crash %d after effect %d: %v", tr.seed, i, n, err)
		}
	}
}

func (tr *compactTrace) openAt(disk *vfs.CrashMem) (*seglog.Log, error) {
	cfg := tr.cfg
	cfg.FS, cfg.Handles = disk, seglog.NewHandles(1)
	return seglog.Open(cfg)
}

// check recovers a disk, also from a crash during the recovery, and compares it
// with the model, before and after another compaction.
func (tr *compactTrace) check(disk *vfs.CrashMem, rng *rand.Rand, durable int64) error {
	var again *vfs.CrashMem
	opening, stopAt := true, 1+rng.IntN(12)
	disk.OnEffect(func(n int) {
		if opening && n == stopAt {
			again = disk.Crash(rng)
		}
	})
	l, err := tr.openAt(disk)
	opening = false
	if err != nil {
		return fmt.Errorf("recovery: %w", err)
	}
	want := logBytes(disk)
	second := disk.Crash(rng)
	l2, err := tr.openAt(second)
	if err != nil {
		_ = l.Close()
		return fmt.Errorf("second recovery: %w", err)
	}
	if got := logBytes(second); got != want {
		err = errors.New("a second recovery gives other bytes")
	}
	err = errors.Join(err, l2.Close(), tr.compare(l, durable), tr.compactAgain(l, durable), l.Close())
	if err == nil && again != nil {
		if l, err = tr.openAt(again); err != nil {
			return fmt.Errorf("recovery after a crash in a recovery: %w", err)
		}
		err = errors.Join(tr.compare(l, durable), l.Close())
	}
	return err
}

// compare checks what is read, from a few offsets.
func (tr *compactTrace) compare(l *seglog.Log, durable int64) error {
	start, end := l.LogStartOffset(), l.LogEndOffset()
	if end < durable || end > max(start, int64(len(tr.m.records))) {
		return fmt.Errorf("log end offset %d, durable are %d, appended %d", end, durable, len(tr.m.records))
	}
	for from := start; from < end; from += 1 + (end-start)/3 {
		if err := tr.m.check(l, from); err != nil {
			return err
		}
	}
	if end > start {
		list, err := read(l, start)
		if err != nil {
			return err
		}
		tombstones := map[string]bool{}
		for _, s := range list {
			_, rec, _ := strings.Cut(s, ":")
			key, _, live := strings.Cut(rec, "=")
			tombstones[key] = !live
		}
		last := map[string]bool{}
		for _, rec := range tr.m.records[start:end] {
			key, _, live := strings.Cut(rec, "=")
			last[key] = !live
		}
		for key, dead := range last {
			if dead && !tombstones[key] {
				return fmt.Errorf("the tombstone of %q is gone before its time", key)
			}
		}
	}
	return nil
}

// compactAgain goes on where the crash has interrupted: a batch sent again is
// known, and what a compaction leaves is the same to a reader.
func (tr *compactTrace) compactAgain(l *seglog.Log, durable int64) error {
	if tr.last != nil && tr.lastBase >= l.LogStartOffset() {
		a, err := l.Append(append([]byte(nil), tr.last...), 0, epochStart)
		if err != nil || !a.Duplicate || a.BaseOffset != tr.lastBase {
			return fmt.Errorf("the batch at %d sent again: %+v, %w, want a duplicate", tr.lastBase, a, err)
		}
	}
	var c seglog.Cleaner
	if _, err := c.Compact(context.Background(), l, tr.p, epochStart); err != nil {
		return fmt.Errorf("compaction after the recovery: %w", err)
	}
	if err := tr.compare(l, durable); err != nil {
		return fmt.Errorf("after another compaction: %w", err)
	}
	return nil
}

// TestEachCrashPointOfCompactions tries every crash point of two compactions, with
// files that go at once and files that stay for a minute.
func TestEachCrashPointOfCompactions(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Minute} {
		t.Run(fmt.Sprintf("delay=%v", delay), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := newCompactTrace(t, 3, crashesPerEffect(t, 16), delay)
				long := strings.Repeat("v", 250)
				c := &seglog.Cleaner{}
				tr.append(seglog.CodecNone, true, "a=1", "x="+long, "y="+long)
				tr.append(seglog.CodecGzip, false, "b=1", "a=2")
				tr.append(seglog.CodecNone, false, "c=1", "x=2"+long, "y=2"+long)
				tr.append(seglog.CodecNone, false, "d=1", "x=3"+long, "y"+long)
				tr.append(seglog.CodecLZ4, true, "b")
				tr.append(seglog.CodecNone, false, "e=1", "x=4"+long, "y=3"+long)
				tr.compact(c) // leaves short segments
				tr.append(seglog.CodecZstd, false, "a=3", "f=1", "b=2")
				tr.append(seglog.CodecNone, false, "x=5"+long, "y=4"+long)
				tr.append(seglog.CodecNone, false, "x=6"+long, "y=5"+long)
				c.MapBytes = 24 * 4 // several rounds
				tr.compact(c)       // and puts them together
				time.Sleep(2 * time.Minute)
				must(t, tr.log.Sweep(time.Now()))
				tr.reopen()
				tr.append(seglog.CodecNone, false, "a=5"+long)
				must(t, tr.log.Close())
				t.Logf("%d effects", tr.effects)
			})
		})
	}
}

// TestRandomCompactions runs long traces by seed. SEED=n runs that one alone,
// MILLRACE_LONG=1 more of them.
func TestRandomCompactions(t *testing.T) {
	first, n := uint64(500), uint64(6)
	if testing.Short() {
		n = 2
	}
	if os.Getenv("MILLRACE_LONG") != "" {
		n = 200
	}
	if s := os.Getenv("SEED"); s != "" {
		var err error
		first, err = strconv.ParseUint(s, 10, 64)
		must(t, err)
		n = 1
	}
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomCompactions(t, seed) })
		})
	}
}

func randomCompactions(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	tr := newCompactTrace(t, seed, 1, []time.Duration{0, time.Minute}[seed%2])
	c := &seglog.Cleaner{MapBytes: []int64{0, 1, 24 * 30}[seed%3]}
	for range 60 {
		switch rng.IntN(14) {
		case 0:
			tr.flush()
		case 1:
			_, err := tr.log.DeleteRecords(rng.Int64N(tr.log.LogEndOffset()/2 + 1))
			must(t, err)
		case 2:
			tr.reopen()
		case 3:
			time.Sleep(time.Minute)
		case 4:
			tr.goOnAfterCrash(rng)
		case 5, 6:
			tr.compact(c)
		default:
			kvs := make([]string, 1+rng.IntN(4))
			for i := range kvs {
				kvs[i] = fmt.Sprintf("k%d", rng.IntN(8))
				if rng.IntN(4) > 0 {
					kvs[i] += fmt.Sprintf("=%d/%s", len(tr.m.records)+i, strings.Repeat("v", rng.IntN(200)))
				}
			}
			tr.append(packings[rng.IntN(len(packings))], rng.IntN(3) == 0, kvs...)
		}
		if rng.IntN(3) > 0 {
			synctest.Wait()
		}
	}
	must(t, tr.log.Close())
}
