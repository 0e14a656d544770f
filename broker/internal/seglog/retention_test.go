// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

// files lists the names in the log's folder with a suffix, without it.
func files(t testing.TB, fsys vfs.FS, suffix string) []string {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	must(t, err)
	var list []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), suffix); ok {
			list = append(list, strings.TrimLeft(name, "0"))
		}
	}
	return list
}

// TestRetain looks at five segments of one record each, a minute apart, the last
// of them active.
func TestRetain(t *testing.T) {
	const minute = time.Minute
	size := int64(len(kvBatch(epochStart.UnixMilli(), nil, "k="+strings.Repeat("x", 800))))
	unlimited := seglog.Retention{Age: -1, Bytes: -1}
	for _, tc := range []struct {
		name         string
		r            seglog.Retention
		limit        int64
		start        int64
		removed, now int // now in minutes from the first record
	}{
		{"no limit", unlimited, 5, 0, 0, 1000},
		{"all are young", seglog.Retention{Age: 6 * minute, Bytes: -1}, 5, 0, 0, 5},
		{"just not too old", seglog.Retention{Age: 5 * minute, Bytes: -1}, 5, 0, 0, 5},
		{"two are too old", seglog.Retention{Age: 3*minute + 1, Bytes: -1}, 5, 2, 2, 5},
		{"the last record of the active one is not", seglog.Retention{Age: minute, Bytes: -1}, 5, 4, 4, 5},
		{"all are too old", seglog.Retention{Age: 0, Bytes: -1}, 5, 5, 5, 5},
		{"not above the high watermark", seglog.Retention{Age: 0, Bytes: -1}, 3, 3, 3, 5},
		{"too old within the high watermark's segment", seglog.Retention{Age: 0, Bytes: -1}, 0, 0, 0, 5},
		{"as long as it may be", seglog.Retention{Age: -1, Bytes: 5 * size}, 5, 0, 0, 5},
		{"one byte too long is not a segment too long", seglog.Retention{Age: -1, Bytes: 4*size + 1}, 5, 0, 0, 5},
		{"a segment too long", seglog.Retention{Age: -1, Bytes: 4 * size}, 5, 1, 1, 5},
		{"three segments too long", seglog.Retention{Age: -1, Bytes: 2*size - 1}, 5, 3, 3, 5},
		{"no bytes", seglog.Retention{Age: -1, Bytes: 0}, 5, 5, 5, 5},
		{"either limit", seglog.Retention{Age: 4*minute + 1, Bytes: 2 * size}, 5, 3, 3, 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			disk := newDisk(t)
			cfg := seglog.Config{FS: disk, SegmentBytes: 1000}
			l := open(t, cfg)
			for i := range 5 {
				appendBatch(t, l, kvBatch(epochStart.Add(time.Duration(i)*minute).UnixMilli(), nil, "k="+strings.Repeat("x", 800)))
			}
			removed, err := l.Retain(tc.r, tc.limit, epochStart.Add(time.Duration(tc.now)*minute))
			must(t, err)
			if removed != tc.removed || l.LogStartOffset() != tc.start || l.LogEndOffset() != 5 {
				t.Errorf("Retain = %d, the log has %d to %d, want %d removed, %d to 5", removed, l.LogStartOffset(), l.LogEndOffset(), tc.removed, tc.start)
			}
			if got := len(files(t, disk, ".log")); got != max(5-removed, 1) {
				t.Errorf("%d log files are left of 5, %d removed", got, removed)
			}
			// As if the machine had died just then.
			after := seglog.Config{FS: disk.Crash(rand.New(rand.NewPCG(1, 1))), SegmentBytes: 1000}
			l2 := open(t, after)
			if l2.LogStartOffset() != tc.start {
				t.Errorf("after a crash the log begins at %d, want %d", l2.LogStartOffset(), tc.start)
			}
			a := appendBatch(t, l, kvBatch(0, nil, "k=more"))
			if a.BaseOffset != 5 || len(kept(t, l, tc.start)) != int(6-tc.start) {
				t.Errorf("after it: append at %d, %q", a.BaseOffset, kept(t, l, tc.start))
			}
		})
	}
}

func TestRecordsWithoutTimestampAgeWithTheirFile(t *testing.T) {
	l := open(t, seglog.Config{FS: newDisk(t), SegmentBytes: 1000})
	appendBatch(t, l, kvBatch(-1, nil, "k="+strings.Repeat("x", 800)))
	appendBatch(t, l, kvBatch(-1, nil, "k="+strings.Repeat("x", 800)))
	r := seglog.Retention{Age: time.Hour, Bytes: -1}
	for after, want := range map[time.Duration]int{time.Minute: 0, 2 * time.Hour: 2} {
		removed, err := l.Retain(r, math.MaxInt64, time.Now().Add(after))
		must(t, err)
		if removed != want && l.LogStartOffset() == 0 {
			t.Errorf("%v on: %d removed, want %d", after, removed, want)
		}
	}
}

func TestDeletedFilesStayForTheirDelay(t *testing.T) {
	disk := newDisk(t)
	cfg := seglog.Config{FS: disk, SegmentBytes: 1000, FileDeleteDelay: time.Minute}
	l := open(t, cfg)
	for range 4 {
		appendBatch(t, l, kvBatch(0, nil, "k="+strings.Repeat("x", 800)))
	}
	settled(t, l)
	_, err := l.DeleteRecords(2)
	must(t, err)
	if diff := cmp.Diff([]string{"", "1"}, files(t, disk, ".log.deleted")); diff != "" {
		t.Errorf("files on their way out: %s", diff)
	}
	must(t, l.Sweep(time.Now()))
	if diff := cmp.Diff([]string{"", "1"}, files(t, disk, ".log.deleted")); diff != "" {
		t.Errorf("before the delay is over: %s", diff)
	}
	must(t, l.Sweep(time.Now().Add(time.Minute)))
	if got := files(t, disk, ".deleted"); got != nil {
		t.Errorf("after the delay: %q", got)
	}
	_, err = l.DeleteRecords(3)
	must(t, err)
	must(t, l.Close())
	l = open(t, cfg)
	if got := files(t, disk, ".deleted"); got != nil {
		t.Errorf("after a restart: %q", got)
	}
	if got := l.LogStartOffset(); got != 3 {
		t.Errorf("the log begins at %d, want 3", got)
	}
}

// counting counts the files that are open, and the bytes that are read from log files.
type counting struct {
	vfs.FS
	open, most, read atomic.Int64
}

type countingFile struct {
	vfs.File
	fs  *counting
	log bool
}

func (c *counting) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := c.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	isLog := strings.Contains(name, ".log")
	if n := c.open.Add(1); isLog && n > c.most.Load() {
		c.most.Store(n)
	}
	return &countingFile{f, c, isLog}, nil
}

func (f *countingFile) Close() error {
	f.fs.open.Add(-1)
	return f.File.Close()
}

func (f *countingFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if f.log {
		f.fs.read.Add(int64(n))
	}
	return n, err
}

// TestOpenFilesAreBounded reads and appends to many segments of several logs at
// a time, of which few may be open.
func TestOpenFilesAreBounded(t *testing.T) {
	const limit = 3
	disk := &counting{FS: newDisk(t)}
	handles := seglog.NewHandles(limit)
	var logs []*seglog.Log
	for i := range 4 {
		l := open(t, seglog.Config{FS: disk, Dir: fmt.Sprintf("/data/t-%d", i), SegmentBytes: 1000, Handles: handles})
		logs = append(logs, l)
		for range 6 {
			appendBatch(t, l, kvBatch(0, nil, "k="+strings.Repeat("x", 800)))
			flush(t, l)
		}
	}
	for _, l := range logs {
		settled(t, l)
	}
	disk.most.Store(0)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			for range 300 {
				l := logs[rng.IntN(len(logs))]
				if r, err := l.Read(rng.Int64N(6), 1<<20, 6, true); err != nil || len(r.Data) == 0 {
					t.Errorf("Read = %d bytes, %v", len(r.Data), err)
				}
			}
		})
	}
	wg.Wait()
	if most := disk.most.Load(); most > limit+3+6 { // three are in use beyond it, each may be reading an index
		t.Errorf("%d files were open at a time, want about %d", most, limit)
	}
	if n := handles.Open(); n > limit+3 {
		t.Errorf("%d segment files are open, want at most %d", n, limit+3)
	}
	appendBatch(t, logs[0], kvBatch(0, nil, "k=dirty")) // keeps its file open
	for at := range int64(6) {
		_, err := logs[1].Read(at, 1<<20, 6, true)
		must(t, err)
	}
	appendBatch(t, logs[0], kvBatch(0, nil, "k=dirty"))
	if n, most := handles.Trim(); n != limit || most != limit {
		t.Errorf("Trim leaves %d files open of %d, want %d", n, most, limit)
	}
	for _, l := range logs {
		must(t, l.Close())
	}
	if n, m := handles.Open(), disk.open.Load(); n != 0 || m != 0 {
		t.Errorf("%d handles and %d files are open after the end", n, m)
	}
}

// TestRecoveryReadsOnlyTheEnd opens logs after a kill and counts the bytes: what a
// recovery reads must not grow with the log.
func TestRecoveryReadsOnlyTheEnd(t *testing.T) {
	const segment = 64 << 10
	disk := newDisk(t)
	cfg := seglog.Config{FS: disk, SegmentBytes: segment}
	l := open(t, cfg)
	value := strings.Repeat("x", 1000)
	seq := int32(0)
	for l.Size() < 40*segment {
		appendBatch(t, l, kvBatch(0, []seglog.BatchOption{seglog.WithProducer(3, 0, seq)}, fmt.Sprintf("k%d=%s", seq, value)))
		seq++
	}
	settled(t, l)
	end := l.LogEndOffset()
	counted := &counting{FS: disk.Kill()}
	cfg.FS = counted
	l = open(t, cfg)
	if got := l.LogEndOffset(); got != end {
		t.Fatalf("the log ends at %d, want %d", got, end)
	}
	if n := counted.read.Load(); n == 0 || n > 3*segment {
		t.Errorf("recovery has read %d bytes of a log of %d with segments of %d", n, l.Size(), segment)
	}
	a, err := l.Append(kvBatch(0, []seglog.BatchOption{seglog.WithProducer(3, 0, seq-1)}, fmt.Sprintf("k%d=%s", seq-1, value)), 0, epochStart)
	must(t, err)
	if !a.Duplicate {
		t.Errorf("the last batch again: %+v, want a duplicate", a)
	}
}

// TestReadersBesideCompactions reads from random offsets while the log grows and
// is compacted: each reader sees offsets rise, of each key the latest value, and
// never the same record twice.
func TestReadersBesideCompactions(t *testing.T) {
	cfg := seglog.Config{FS: newDisk(t), SegmentBytes: 3000, IndexIntervalBytes: 200, Handles: seglog.NewHandles(1)}
	l := open(t, cfg)
	m := &model{}
	rng := rand.New(rand.NewPCG(5, 5))
	var mu sync.RWMutex // of m: appends wait while a reader compares
	done := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(6, uint64(i)))
			for {
				select {
				case <-done:
					return
				default:
				}
				mu.RLock()
				from := rng.Int64N(l.LogEndOffset() + 1)
				err := m.check(l, from)
				if err == nil {
					_, _, _, _, err = l.OffsetForTimestamp(epochStart.UnixMilli()+from, math.MaxInt64)
				}
				if err == nil {
					_, _, _, _, err = l.MaxTimestamp(math.MaxInt64)
				}
				mu.RUnlock()
				if err != nil {
					t.Errorf("reader: %v", err)
					return
				}
			}
		})
	}
	wg.Go(func() { // compactions run beside the readers, and are not held up by them
		c := &seglog.Cleaner{MapBytes: 24 * 20}
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := c.Compact(context.Background(), l, everything, epochStart); err != nil {
				t.Errorf("Compact: %v", err)
				return
			}
		}
	})
	for range 100 {
		mu.Lock()
		m.append(t, l, rng, 20)
		mu.Unlock()
	}
	settled(t, l)
	close(done)
	wg.Wait()
	compact(t, l, &seglog.Cleaner{}, everything, epochStart)
	must(t, m.check(l, 0))
	if n := len(kept(t, l, 0)); n > len(m.records)/2 {
		t.Errorf("%d of %d records are left", n, len(m.records))
	}
}

// TestFailedSwap lets a disk fail at each step of a compaction: reads go on, and
// the next Open brings what is half done to an end.
func TestFailedSwap(t *testing.T) {
	for failAt := 1; ; failAt++ {
		var armed atomic.Bool
		var count atomic.Int64
		disk := newDisk(t)
		broken := vfs.Faults(disk, func(op vfs.Op) error {
			if armed.Load() && op.Kind != vfs.OpRead && count.Add(1) == int64(failAt) {
				return errors.New("the disk is on fire")
			}
			return nil
		})
		cfg := seglog.Config{FS: broken, SegmentBytes: 600}
		l := open(t, cfg)
		m := &model{}
		rng := rand.New(rand.NewPCG(9, 9))
		for range 14 {
			m.append(t, l, rng, 5)
		}
		settled(t, l)
		armed.Store(true)
		c := &seglog.Cleaner{}
		_, err := c.Compact(context.Background(), l, everything, epochStart)
		armed.Store(false)
		must(t, m.check(l, 0))
		m.append(t, l, rng, 5)
		_, err2 := c.Compact(context.Background(), l, everything, epochStart)
		must(t, m.check(l, 0))
		must(t, l.Close())
		l = open(t, cfg)
		must(t, m.check(l, 0))
		compact(t, l, c, everything, epochStart)
		must(t, m.check(l, 0))
		if got := append(files(t, disk, ".swap"), files(t, disk, ".cleaned")...); got != nil {
			t.Errorf("fault at %d: left over: %q", failAt, got)
		}
		must(t, l.Close())
		if err == nil && err2 == nil && count.Load() < int64(failAt) {
			if failAt < 20 {
				t.Errorf("a compaction has only %d steps that can fail", failAt)
			}
			return
		}
	}
}

// TestLostCleanerCheckpoint damages the file that tells how far a log was compacted.
func TestLostCleanerCheckpoint(t *testing.T) {
	disk := newDisk(t)
	cfg := seglog.Config{FS: disk, SegmentBytes: 1000}
	l := open(t, cfg)
	m := &model{}
	rng := rand.New(rand.NewPCG(2, 9))
	for range 60 {
		m.append(t, l, rng, 5)
	}
	settled(t, l)
	compact(t, l, &seglog.Cleaner{}, everything, epochStart)
	must(t, l.Close())
	writeFile(t, disk, dir+"/cleaner-checkpoint", []byte("nonsense"))
	l = open(t, cfg)
	must(t, m.check(l, 0))
	d, err := l.Dirt(everything, epochStart)
	must(t, err)
	if d.Clean != 0 || d.Cleanable == 0 {
		t.Errorf("%+v, want all of it dirty", d)
	}
	if done := compact(t, l, &seglog.Cleaner{}, everything, epochStart); done.Rounds == 0 {
		t.Error("it was not compacted anew")
	}
	must(t, m.check(l, 0))
	must(t, l.Close())
	// Without the other checkpoint too all batches are checked, but gaps are known.
	must(t, disk.Remove(dir+"/checkpoint"))
	l = open(t, cfg)
	must(t, m.check(l, 0))
	if got := l.LogEndOffset(); got != int64(len(m.records)) {
		t.Errorf("the log ends at %d, want %d", got, len(m.records))
	}
}

// TestCompactionRefusesDamage flips a bit: a CRC must not be made anew over it.
func TestCompactionRefusesDamage(t *testing.T) {
	disk := newDisk(t)
	cfg := seglog.Config{FS: disk, SegmentBytes: 1000}
	l := open(t, cfg)
	appendBatch(t, l, kvBatch(0, nil, "k="+strings.Repeat("x", 800)))
	appendBatch(t, l, kvBatch(0, nil, "k="+strings.Repeat("y", 800)))
	settled(t, l)
	must(t, l.Close())
	b := readFile(t, disk, file(0, ".log"))
	b[500] ^= 1
	writeFile(t, disk, file(0, ".log"), b)
	l = open(t, cfg)
	_, err := (&seglog.Cleaner{}).Compact(context.Background(), l, everything, epochStart)
	if ce, ok := errors.AsType[*seglog.CorruptError](err); !ok || ce.Offset != 0 {
		t.Errorf("Compact = %v, want a CorruptError at offset 0", err)
	}
	if got := files(t, disk, ".cleaned"); got != nil {
		t.Errorf("left over: %q", got)
	}
}

func TestCompactionEndsWithTheLog(t *testing.T) {
	l := open(t, seglog.Config{FS: newDisk(t), SegmentBytes: 1000})
	for range 20 {
		appendBatch(t, l, kvBatch(0, nil, "k="+strings.Repeat("x", 800)))
	}
	settled(t, l)
	c := &seglog.Cleaner{BytesPerSecond: 1} // it would take hours
	var wg sync.WaitGroup
	var err error
	wg.Go(func() { _, err = c.Compact(context.Background(), l, everything, epochStart) })
	must(t, l.Close())
	wg.Wait()
	if !errors.Is(err, seglog.ErrClosed) {
		t.Errorf("Compact = %v, want ErrClosed", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	l = open(t, seglog.Config{FS: newDisk(t), SegmentBytes: 1000})
	for range 3 {
		appendBatch(t, l, kvBatch(0, nil, "k="+strings.Repeat("x", 800)))
	}
	settled(t, l)
	if _, err := c.Compact(ctx, l, everything, epochStart); !errors.Is(err, context.Canceled) {
		t.Errorf("Compact = %v, want context.Canceled", err)
	}
}
