// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

// TestProducersOutliveTheirSegments removes all records of a log, and crashes after
// each effect: a producer that sends its last batch again is known, whatever has gone.
func TestProducersOutliveTheirSegments(t *testing.T) {
	for name, remove := range map[string]func(t *testing.T, l *seglog.Log){
		"retention seals the segment a moment before": func(t *testing.T, l *seglog.Log) {
			_, err := l.Retain(seglog.Retention{Age: time.Hour, Bytes: -1}, math.MaxInt64, epochStart)
			must(t, err)
		},
		"a deletion up to the end, then a roll": func(t *testing.T, l *seglog.Log) {
			_, err := l.DeleteRecords(4)
			must(t, err)
			appendBatch(t, l, batch("rolls", 20, 0))
		},
	} {
		t.Run(name, func(t *testing.T) {
			at := 1
			for outlives(t, at, remove) {
				at++
			}
			if at < 10 {
				t.Errorf("%d effects only", at)
			}
		})
	}
}

// outlives crashes at an effect of remove; false if it has not that many.
func outlives(t *testing.T, at int, remove func(t *testing.T, l *seglog.Log)) bool {
	last := batch("last", 1, 0, seglog.WithProducer(7, 0, 3))
	m := newDisk(t)
	var crashed *vfs.CrashMem
	under, n := false, 0
	var mu sync.Mutex // the log's goroutines have effects, too
	m.OnEffect(func(int) {
		mu.Lock()
		defer mu.Unlock()
		if under {
			if n++; n == at {
				crashed = m.Crash(rand.New(rand.NewPCG(uint64(at), 3)))
			}
		}
	})
	l := open(t, seglog.Config{FS: m, SegmentBytes: 400})
	appendBatch(t, l, batch("first", 3, 0, seglog.WithProducer(7, 0, 0)))
	appendBatch(t, l, bytes.Clone(last))
	flush(t, l)
	mu.Lock()
	under = true
	mu.Unlock()
	remove(t, l)
	if l.LogStartOffset() != 4 {
		t.Fatalf("the log begins at %d, want 4: nothing was removed", l.LogStartOffset())
	}
	must(t, l.Close())
	if crashed == nil {
		return false
	}
	for restart := range 2 {
		l = open(t, seglog.Config{FS: crashed})
		a, err := l.Append(bytes.Clone(last), 0, epochStart)
		if err != nil || !a.Duplicate || a.BaseOffset != 3 {
			t.Fatalf("crash at effect %d, start %d: the last batch again: %+v, %v, want a duplicate at 3", at, restart, a, err)
		}
		must(t, l.Close())
	}
	return true
}

// TestWhatIsBelowTheLogStartIsNoDamage puts segments back that were removed, some of
// them or damaged, without a snapshot that would tell that they may go.
func TestWhatIsBelowTheLogStartIsNoDamage(t *testing.T) {
	for name, restore := range map[string]func(base int64, b []byte) []byte{
		"with a gap": func(base int64, b []byte) []byte {
			if base == 0 {
				return b
			}
			return nil
		},
		"torn":                 func(_ int64, b []byte) []byte { return b[:len(b)-10] },
		"with damage in front": func(_ int64, b []byte) []byte { return append([]byte{0xff}, b[1:]...) },
		"empty":                func(int64, []byte) []byte { return []byte{} },
	} {
		t.Run(name, func(t *testing.T) {
			m := newDisk(t)
			cfg := seglog.Config{FS: m, SegmentBytes: 250}
			l := open(t, cfg)
			want := fill(t, l, 12)
			settled(t, l)
			old := map[int64][]byte{}
			for _, base := range bases(t, m) {
				old[base] = readFile(t, m, file(base, ".log"))
			}
			start := bases(t, m)[4]
			if _, err := l.DeleteRecords(start); err != nil {
				t.Fatal(err)
			}
			must(t, l.Close())
			must(t, m.Remove(dir+"/.clean"))
			eachSnapshot(t, m, func(name string) { must(t, m.Remove(name)) })
			for base, b := range old {
				if base >= start {
					continue
				}
				if b = restore(base, b); b != nil {
					writeFile(t, m, file(base, ".log"), b)
				}
			}
			for range 2 {
				l = open(t, cfg)
				if got := l.LogStartOffset(); got != start {
					t.Fatalf("the log begins at %d, want %d", got, start)
				}
				if diff := cmp.Diff(want[start:], values(t, l, start)); diff != "" {
					t.Fatal(diff)
				}
				must(t, l.Close())
			}
		})
	}
}

// TestIndexIsMadeAnewBesideAppends reads by an index of the active segment that is
// not true, while it grows.
func TestIndexIsMadeAnewBesideAppends(t *testing.T) {
	m := newDisk(t)
	cfg := seglog.Config{FS: m, IndexIntervalBytes: 100}
	l := open(t, cfg)
	want := fill(t, l, 40)
	must(t, l.Close())
	index := readFile(t, m, file(0, ".index"))
	entries := index[:len(index)-20]
	for i := range len(entries)/8 - 1 { // the last one is looked at by Open
		pos := binary.BigEndian.Uint32(entries[8*i+4:])
		binary.BigEndian.PutUint32(entries[8*i+4:], pos+1)
	}
	writeFile(t, m, file(0, ".index"), trailer(entries, 8, len(readFile(t, m, file(0, ".log")))))
	var lines logLines
	cfg.Logger = lines.logger()
	l = open(t, cfg)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for from := int64(i); from < 80; from += 7 {
				if _, err := l.Read(from, 100, math.MaxInt64, true); err != nil {
					t.Errorf("read at %d: %v", from, err)
				}
			}
		})
	}
	for i := 40; i < 80; i++ {
		appendBatch(t, l, batch(fmt.Sprint(i), 2, int64(i)))
		want = append(want, fmt.Sprintf("%d=%d/0", 2*i, i), fmt.Sprintf("%d=%d/1", 2*i+1, i))
	}
	wg.Wait()
	if !lines.has("rebuild index") {
		t.Error("the index was believed")
	}
	for range 2 {
		for from := int64(0); from < 160; from += 3 {
			if diff := cmp.Diff(want[from:], values(t, l, from)); diff != "" {
				t.Fatalf("from %d: %s", from, diff)
			}
			if o, _, _, _, err := l.OffsetForTimestamp(from/2+from%2, math.MaxInt64); err != nil || o > from {
				t.Errorf("OffsetForTimestamp(%d) = %d, %v", from/2+from%2, o, err)
			}
		}
		if o, ts, _, _, err := l.MaxTimestamp(math.MaxInt64); err != nil || o != 159 || ts != 80 {
			t.Errorf("MaxTimestamp = %d, %d, %v", o, ts, err)
		}
		must(t, l.Close())
		l = open(t, cfg)
	}
}
