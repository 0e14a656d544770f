// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

func TestAppendAndRead(t *testing.T) {
	for name, fsys := range map[string]vfs.FS{"mem": newDisk(t), "os": vfs.OS{}} {
		t.Run("disk="+name, func(t *testing.T) {
			cfg := seglog.Config{FS: fsys, Dir: dir}
			if name == "os" {
				cfg.Dir = t.TempDir() + "/t-0"
			}
			l := open(t, cfg)
			sent := batch("a", 3, 1000)
			a := appendBatch(t, l, sent)
			if diff := cmp.Diff(seglog.Appended{LastOffset: 2, MaxTimestamp: 1002, LogAppendTime: -1}, a); diff != "" {
				t.Error(diff)
			}
			a, err := l.Append(batch("b", 2, 2000), 4, epochStart)
			must(t, err)
			if a.BaseOffset != 3 || a.LastOffset != 4 || l.LogEndOffset() != 5 {
				t.Errorf("second batch at %d to %d, end %d, want 3 to 4, 5", a.BaseOffset, a.LastOffset, l.LogEndOffset())
			}
			r, err := l.Read(0, 1<<20, 5, false)
			must(t, err)
			if !bytes.HasPrefix(r.Data, sent) {
				t.Error("the stored batch is not the one sent")
			}
			h, err := seglog.ParseHeader(r.Data[len(sent):])
			must(t, err)
			if h.BaseOffset != 3 || h.LeaderEpoch != 4 || r.NextOffset != 5 || r.EndOffset != 5 {
				t.Errorf("second header %+v, next offset %d", h, r.NextOffset)
			}
			want := []string{"0=a/0", "1=a/1", "2=a/2", "3=b/0", "4=b/1"}
			if diff := cmp.Diff(want, values(t, l, 0)); diff != "" {
				t.Error(diff)
			}
			must(t, l.Close())
			must(t, l.Close())
			l = open(t, cfg)
			if diff := cmp.Diff(want, values(t, l, 0)); diff != "" {
				t.Errorf("after a restart: %s", diff)
			}
			must(t, l.Remove())
			if exists(fsys, cfg.Dir) {
				t.Error("the folder is there after Remove")
			}
		})
	}
}

func TestReadBounds(t *testing.T) {
	l := open(t, seglog.Config{FS: newDisk(t)})
	size := len(batch("x", 2, 0))
	for range 5 {
		appendBatch(t, l, batch("x", 2, 0)) // offsets 0 to 9
	}
	for _, tc := range []struct {
		name     string
		from     int64
		maxBytes int
		limit    int64
		minOne   bool
		batches  int
		next     int64
	}{
		{"everything", 0, 1 << 20, 10, false, 5, 10},
		{"from the middle of a batch", 3, 1 << 20, 10, false, 4, 10},
		{"two batches fit", 0, 2*size + size/2, 10, false, 2, 4},
		{"exactly two batches", 0, 2 * size, 10, false, 2, 4},
		{"a header of the next fits", 0, 2*size + 61, 10, false, 2, 4},
		{"none fits", 2, size - 1, 10, false, 0, 2},
		{"none fits, one is wanted", 2, size - 1, 10, true, 1, 4},
		{"no bytes, one is wanted", 2, 0, 10, true, 1, 4},
		{"up to the high watermark", 0, 1 << 20, 6, true, 3, 6},
		{"at the high watermark", 6, 1 << 20, 6, true, 0, 6},
		{"above the high watermark", 8, 1 << 20, 6, true, 0, 8},
		{"at the end", 10, 1 << 20, math.MaxInt64, true, 0, 10},
		{"limit above the end", 8, 1 << 20, math.MaxInt64, true, 1, 10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := l.Read(tc.from, tc.maxBytes, tc.limit, tc.minOne)
			must(t, err)
			if len(r.Data) != tc.batches*size || r.NextOffset != tc.next || r.StartOffset != 0 || r.EndOffset != 10 {
				t.Errorf("Read(%d) = %d bytes (%d a batch), next %d, log %d to %d; want %d batches, next %d",
					tc.from, len(r.Data), size, r.NextOffset, r.StartOffset, r.EndOffset, tc.batches, tc.next)
			}
		})
	}
	for _, from := range []int64{-1, 11} {
		if _, err := l.Read(from, 100, 10, true); !errors.Is(err, seglog.ErrOffsetOutOfRange) {
			t.Errorf("Read(%d) = %v, want ErrOffsetOutOfRange", from, err)
		}
	}
}

// TestIndexedReads reads from each offset of a log with several segments and a
// dense index, before and after a restart.
func TestIndexedReads(t *testing.T) {
	cfg := seglog.Config{FS: newDisk(t), SegmentBytes: 4000, IndexIntervalBytes: 200}
	l := open(t, cfg)
	var want []string
	for i := range 100 {
		n := 1 + i%7
		appendBatch(t, l, batch(fmt.Sprint(i), n, int64(i)))
		for j := range n {
			want = append(want, fmt.Sprintf("%d=%d/%d", len(want), i, j))
		}
	}
	check := func() {
		t.Helper()
		for from := range want {
			if diff := cmp.Diff(want[from:], values(t, l, int64(from))); diff != "" {
				t.Fatalf("from %d: %s", from, diff)
			}
		}
	}
	check()
	must(t, l.Close())
	l = open(t, cfg)
	check()
	appendBatch(t, l, batch("more", 1, 0))
	want = append(want, fmt.Sprintf("%d=more/0", len(want)))
	check()
}

func TestRoll(t *testing.T) {
	one := int64(len(batch("x", 1, 0)))
	for _, tc := range []struct {
		name string
		cfg  seglog.Config
		at   []time.Duration // of each append, after the first
		want []int64         // bases of the segments
	}{
		{"by size", seglog.Config{SegmentBytes: 2 * one}, []time.Duration{0, 0, 0, 0}, []int64{0, 2, 4}},
		{"a batch longer than a segment", seglog.Config{SegmentBytes: one - 1}, []time.Duration{0, 0}, []int64{0, 1, 2}},
		{"by age", seglog.Config{SegmentAge: time.Hour}, []time.Duration{59 * time.Minute, time.Hour, 90 * time.Minute, 2 * time.Hour}, []int64{0, 2, 4}},
		{"neither", seglog.Config{}, []time.Duration{0, time.Hour}, []int64{0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newDisk(t)
			tc.cfg.FS = m
			l := open(t, tc.cfg)
			appendBatch(t, l, batch("x", 1, 0))
			for _, at := range tc.at {
				_, err := l.Append(batch("x", 1, 0), 0, epochStart.Add(at))
				must(t, err)
			}
			if diff := cmp.Diff(tc.want, bases(t, m)); diff != "" {
				t.Error(diff)
			}
			must(t, l.Close())
			l = open(t, tc.cfg)
			if n := len(values(t, l, 0)); n != len(tc.at)+1 {
				t.Errorf("%d records after a restart, want %d", n, len(tc.at)+1)
			}
		})
	}
}

func bases(t testing.TB, fsys vfs.FS) []int64 {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	must(t, err)
	var list []int64
	for _, e := range entries {
		var base int64
		var rest string
		if n, _ := fmt.Sscanf(e.Name(), "%d.%s", &base, &rest); n == 2 && rest == "log" {
			list = append(list, base)
		}
	}
	return list
}

func TestTimestamps(t *testing.T) {
	cfg := seglog.Config{FS: newDisk(t), SegmentBytes: 3000, IndexIntervalBytes: 150}
	l := open(t, cfg)
	// The model: timestamps by offset. They jump back now and then, as event time does.
	var stamps []int64
	for i := range 120 {
		ts := int64(1000 + 10*i)
		if i%11 == 0 {
			ts -= 300
		}
		n := 1 + i%4
		appendBatch(t, l, batch("x", n, ts))
		for j := range n {
			stamps = append(stamps, ts+int64(j))
		}
	}
	check := func(limit int64) {
		t.Helper()
		start := l.LogStartOffset()
		for ts := int64(600); ts < 2300; ts += 3 {
			wantOffset, wantTs, wantOK := int64(-1), int64(-1), false
			for o := start; o < min(limit, int64(len(stamps))); o++ {
				if stamps[o] >= ts {
					wantOffset, wantTs, wantOK = o, stamps[o], true
					break
				}
			}
			o, got, _, ok, err := l.OffsetForTimestamp(ts, limit)
			must(t, err)
			if o != wantOffset || got != wantTs || ok != wantOK {
				t.Fatalf("OffsetForTimestamp(%d, %d) = %d, %d, %v, want %d, %d, %v", ts, limit, o, got, ok, wantOffset, wantTs, wantOK)
			}
		}
		wantOffset, wantTs := int64(-1), int64(-1)
		for o := start; o < min(limit, int64(len(stamps))); o++ {
			if stamps[o] > wantTs {
				wantOffset, wantTs = o, stamps[o]
			}
		}
		o, got, _, ok, err := l.MaxTimestamp(limit)
		must(t, err)
		if o != wantOffset || got != wantTs || ok != (wantOffset >= 0) {
			t.Fatalf("MaxTimestamp(%d) = %d, %d, %v, want %d, %d", limit, o, got, ok, wantOffset, wantTs)
		}
	}
	// A limit is a high watermark: between batches.
	limits := []int64{math.MaxInt64, 0, 1, 10, 20, 100, 110}
	for _, limit := range limits {
		check(limit)
	}
	must(t, l.Close())
	l = open(t, cfg)
	for _, limit := range limits {
		check(limit)
	}
	if _, err := l.DeleteRecords(101); err != nil {
		t.Fatal(err)
	}
	check(math.MaxInt64)
	check(250)
}

func TestTimestampsOfAnEmptyLog(t *testing.T) {
	l := open(t, seglog.Config{FS: newDisk(t)})
	if _, _, _, ok, err := l.OffsetForTimestamp(0, 10); ok || err != nil {
		t.Errorf("OffsetForTimestamp of an empty log: %v, %v", ok, err)
	}
	if _, _, _, ok, err := l.MaxTimestamp(10); ok || err != nil {
		t.Errorf("MaxTimestamp of an empty log: %v, %v", ok, err)
	}
}

func TestLeaderEpochs(t *testing.T) {
	cfg := seglog.Config{FS: newDisk(t)}
	l := open(t, cfg)
	if e, o := l.EndOffsetForEpoch(0); e != -1 || o != -1 || l.LatestEpoch() != -1 {
		t.Errorf("empty log: %d, %d, latest %d", e, o, l.LatestEpoch())
	}
	for _, epoch := range []int32{2, 2, 3, 7} {
		_, err := l.Append(batch("x", 10, 0), epoch, epochStart)
		must(t, err)
	}
	if _, err := l.Append(batch("x", 1, 0), 6, epochStart); !errors.Is(err, seglog.ErrStaleLeaderEpoch) {
		t.Errorf("Append with an old epoch: %v, want ErrStaleLeaderEpoch", err)
	}
	check := func(what string) {
		t.Helper()
		for _, tc := range []struct {
			epoch, found int32
			end          int64
		}{
			{-1, -1, -1},
			{0, 0, 0}, // older than all
			{2, 2, 20},
			{3, 3, 30},
			{5, 3, 30},
			{7, 7, 40},
			{8, -1, -1},
		} {
			if found, end := l.EndOffsetForEpoch(tc.epoch); found != tc.found || end != tc.end {
				t.Errorf("%s: EndOffsetForEpoch(%d) = %d, %d, want %d, %d", what, tc.epoch, found, end, tc.found, tc.end)
			}
		}
		if l.LatestEpoch() != 7 {
			t.Errorf("%s: LatestEpoch() = %d, want 7", what, l.LatestEpoch())
		}
	}
	check("new")
	must(t, l.Close())
	l = open(t, cfg)
	check("after a restart")
	must(t, l.Close())
	must(t, cfg.FS.Remove(dir+"/leader-epoch-checkpoint"))
	l = open(t, cfg)
	check("rebuilt")
	_, err := l.DeleteRecords(25)
	must(t, err)
	if found, end := l.EndOffsetForEpoch(2); found != 2 || end != 25 {
		t.Errorf("after deletion EndOffsetForEpoch(2) = %d, %d, want 2, 25", found, end)
	}
}

func TestDeleteRecords(t *testing.T) {
	m := newDisk(t)
	cfg := seglog.Config{FS: m, SegmentBytes: 300}
	l := open(t, cfg)
	for i := range 20 {
		appendBatch(t, l, batch(fmt.Sprint(i), 1, 0))
	}
	before := l.Size()
	for _, tc := range []struct{ upTo, want int64 }{{0, 0}, {7, 7}, {3, 7}, {13, 13}} {
		if got, err := l.DeleteRecords(tc.upTo); got != tc.want || err != nil {
			t.Errorf("DeleteRecords(%d) = %d, %v, want %d", tc.upTo, got, err, tc.want)
		}
	}
	if _, err := l.DeleteRecords(21); !errors.Is(err, seglog.ErrOffsetOutOfRange) {
		t.Errorf("DeleteRecords over the end: %v, want ErrOffsetOutOfRange", err)
	}
	if l.Size() >= before || bases(t, m)[0] == 0 {
		t.Errorf("size %d of %d, segments %d: nothing was deleted", l.Size(), before, bases(t, m))
	}
	if _, err := l.Read(12, 100, 20, true); !errors.Is(err, seglog.ErrOffsetOutOfRange) {
		t.Errorf("Read below the start: %v, want ErrOffsetOutOfRange", err)
	}
	must(t, l.Close())
	l = open(t, cfg)
	if got := values(t, l, 13); l.LogStartOffset() != 13 || len(got) != 7 || got[0] != "13=13/0" {
		t.Errorf("after a restart start %d, records %v", l.LogStartOffset(), got)
	}
	if _, err := l.DeleteRecords(20); err != nil {
		t.Fatal(err)
	}
	if got := values(t, l, 20); len(got) != 0 {
		t.Errorf("records %v after all were deleted", got)
	}
	if a := appendBatch(t, l, batch("new", 1, 0)); a.BaseOffset != 20 || a.LogStartOffset != 20 {
		t.Errorf("append after deletion: %+v, want offset 20", a)
	}
}

func TestReadsBesideAppends(t *testing.T) {
	l := open(t, seglog.Config{FS: newDisk(t), SegmentBytes: 2000, IndexIntervalBytes: 200})
	const batches = 300
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			next := int64(0)
			for next < 2*batches {
				r, err := l.Read(next, 500, math.MaxInt64, true)
				if errors.Is(err, seglog.ErrOffsetOutOfRange) && l.LogStartOffset() > next {
					next = l.LogStartOffset()
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				want := next
				if err := eachBatch(r.Data, func(b []byte) error {
					h, err := seglog.ParseHeader(b)
					if err == nil && h.BaseOffset > want {
						err = fmt.Errorf("offset %d where %d was expected", h.BaseOffset, want)
					}
					want = h.NextOffset()
					return err
				}); err != nil {
					t.Error(err)
					return
				}
				next = r.NextOffset
				if _, _, _, _, err := l.OffsetForTimestamp(next, math.MaxInt64); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range batches {
		appendBatch(t, l, batch("x", 2, int64(2*i)))
		if i%50 == 49 {
			if _, err := l.DeleteRecords(int64(i)); err != nil {
				t.Error(err)
			}
		}
	}
	wg.Wait()
	must(t, l.Close())
	if _, err := l.Read(0, 1, 1, true); err == nil {
		t.Error("a closed log can be read")
	}
	if _, err := l.Append(batch("x", 1, 0), 0, epochStart); !errors.Is(err, seglog.ErrClosed) {
		t.Errorf("Append to a closed log: %v, want ErrClosed", err)
	}
}

func TestFlushesAreShared(t *testing.T) {
	syncs, release := make(chan struct{}, 16), make(chan struct{})
	fsys := vfs.Faults(newDisk(t), func(op vfs.Op) error {
		if op.Kind == vfs.OpSync && op.Path == file(0, ".log") {
			syncs <- struct{}{}
			<-release
		}
		return nil
	})
	go func() { <-syncs; release <- struct{}{} }() // of Open
	l := open(t, seglog.Config{FS: fsys, Flush: seglog.FlushPolicy{Mode: seglog.FlushBatch}})
	defer close(release)
	var wg sync.WaitGroup
	flushed := func(upTo int64) { wg.Go(func() { must(t, l.Flush(context.Background(), upTo)) }) }
	appendBatch(t, l, batch("a", 1, 0))
	flushed(1)
	<-syncs // the first is under way
	for i := range 10 {
		appendBatch(t, l, batch("b", 1, 0))
		flushed(int64(i + 2))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Flush(ctx, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush with a cancelled context: %v", err)
	}
	if l.FlushedOffset() != 0 {
		t.Errorf("FlushedOffset() = %d before a sync ended", l.FlushedOffset())
	}
	release <- struct{}{}
	<-syncs
	release <- struct{}{}
	wg.Wait()
	if l.FlushedOffset() != 11 || len(syncs) != 0 {
		t.Errorf("FlushedOffset() = %d, want 11; %d more syncs", l.FlushedOffset(), len(syncs))
	}
}

func TestFlushInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, seglog.Config{FS: newDisk(t), Flush: seglog.FlushPolicy{Mode: seglog.FlushInterval, Interval: time.Minute}})
		appendBatch(t, l, batch("a", 1, 0))
		time.Sleep(59 * time.Second)
		appendBatch(t, l, batch("b", 1, 0))
		synctest.Wait()
		if got := l.FlushedOffset(); got != 0 {
			t.Errorf("FlushedOffset() = %d before the interval", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := l.FlushedOffset(); got != 2 {
			t.Errorf("FlushedOffset() = %d after the interval, want 2", got)
		}
		appendBatch(t, l, batch("c", 1, 0))
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := l.FlushedOffset(); got != 3 {
			t.Errorf("FlushedOffset() = %d after the second interval, want 3", got)
		}
		must(t, l.Close())
	})
}

func TestConfigErrors(t *testing.T) {
	for name, cfg := range map[string]seglog.Config{
		"no disk":       {Dir: dir},
		"no folder":     {FS: newDisk(t)},
		"negative size": {FS: newDisk(t), Dir: dir, SegmentBytes: -1},
		"unknown mode":  {FS: newDisk(t), Dir: dir, Flush: seglog.FlushPolicy{Mode: 9}},
	} {
		if l, err := seglog.Open(cfg); err == nil {
			t.Errorf("%s: Open accepts it", name)
			_ = l.Close()
		}
	}
}
