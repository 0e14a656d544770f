// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

// crashKeepingAll is kill -9: the process is gone, what it wrote is there.
func crashKeepingAll(t testing.TB, m *vfs.CrashMem) *vfs.CrashMem {
	t.Helper()
	for seed := range uint64(1000) {
		rng := rand.New(rand.NewPCG(seed, 0))
		if rng.IntN(6) == 0 { // the crash that keeps all
			return m.Crash(rand.New(rand.NewPCG(seed, 0)))
		}
	}
	t.Fatal("no seed keeps all")
	return nil
}

// fill appends n batches of two records, "0/0" to "n-1/1".
func fill(t testing.TB, l *seglog.Log, n int) (want []string) {
	t.Helper()
	for i := range n {
		appendBatch(t, l, batch(fmt.Sprint(i), 2, int64(i)))
		want = append(want, fmt.Sprintf("%d=%d/0", 2*i, i), fmt.Sprintf("%d=%d/1", 2*i+1, i))
	}
	return want
}

// TestTornTail kills the process and damages the end of the active segment.
func TestTornTail(t *testing.T) {
	size := len(batch("0", 2, 0))
	for _, tc := range []struct {
		name   string
		damage func(b []byte) []byte
		keep   int // batches of 5
	}{
		{"nothing is wrong", func(b []byte) []byte { return b }, 5},
		{"last byte is cut", func(b []byte) []byte { return b[:len(b)-1] }, 4},
		{"a header is left", func(b []byte) []byte { return b[:len(b)-size+61] }, 4},
		{"three bytes are left", func(b []byte) []byte { return b[:len(b)-size+3] }, 4},
		{"zeros follow", func(b []byte) []byte { return append(b, make([]byte, 700)...) }, 5},
		{"a length beyond the file follows", func(b []byte) []byte {
			return append(b, append([]byte{0, 0, 0, 0, 0, 0, 0, 10, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 2}, make([]byte, 60)...)...)
		}, 5},
		{"a bit in the last batch flipped", func(b []byte) []byte { b[len(b)-3] ^= 4; return b }, 4},
		{"a bit in the third batch flipped", func(b []byte) []byte { b[2*size+70] ^= 4; return b }, 2},
		{"the third batch has another offset", func(b []byte) []byte { b[2*size+7]++; return b }, 2},
		{"all zeros", func(b []byte) []byte { clear(b); return b }, 0},
		{"empty", func(b []byte) []byte { return b[:0] }, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newDisk(t)
			var lines logLines
			l := open(t, seglog.Config{FS: m})
			want := fill(t, l, 5)[:2*tc.keep]
			m = crashKeepingAll(t, m)
			stored := readFile(t, m, file(0, ".log"))
			damaged := tc.damage(append([]byte(nil), stored...))
			writeFile(t, m, file(0, ".log"), damaged)
			l = open(t, seglog.Config{FS: m, Logger: lines.logger()})
			if diff := cmp.Diff(want, values(t, l, 0), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			if cut := len(damaged) - tc.keep*size; cut > 0 {
				for _, part := range []string{"log was torn", file(0, ".log"), fmt.Sprintf("position=%d", tc.keep*size), fmt.Sprintf("offset=%d", 2*tc.keep), fmt.Sprintf("bytes=%d", cut)} {
					if !lines.has(part) {
						t.Errorf("the log line lacks %q:\n%s", part, &lines)
					}
				}
			}
			if a := appendBatch(t, l, batch("next", 1, 0)); a.BaseOffset != int64(2*tc.keep) {
				t.Errorf("next append at %d, want %d", a.BaseOffset, 2*tc.keep)
			}
		})
	}
}

// TestDurableDamageIsReported damages what was known to be durable: a log that
// was closed, and the sealed segments of one that was killed.
func TestDurableDamageIsReported(t *testing.T) {
	size := int64(len(batch("0", 2, 0)))
	for _, tc := range []struct {
		name   string
		killed bool
		damage func(t *testing.T, m *vfs.CrashMem)
		want   seglog.CorruptError
	}{
		{"the tail of a closed log is cut", false, func(t *testing.T, m *vfs.CrashMem) {
			b := readFile(t, m, file(16, ".log"))
			writeFile(t, m, file(16, ".log"), b[:len(b)-1])
		}, seglog.CorruptError{File: file(16, ".log"), Position: size, Offset: 18}},
		{"the last segment is gone", false, func(t *testing.T, m *vfs.CrashMem) {
			must(t, m.Remove(file(16, ".log")))
		}, seglog.CorruptError{File: file(12, ".log"), Position: 2 * size, Offset: 16}},
		{"all segments are gone", false, func(t *testing.T, m *vfs.CrashMem) {
			for _, base := range bases(t, m) {
				must(t, m.Remove(file(base, ".log")))
			}
		}, seglog.CorruptError{File: dir}},
		{"the first segment is gone", true, func(t *testing.T, m *vfs.CrashMem) {
			must(t, m.Remove(file(0, ".log")))
			eachSnapshot(t, m, func(name string) { must(t, m.Remove(name)) })
		}, seglog.CorruptError{File: file(4, ".log"), Offset: 0}},
		{"a sealed segment is cut", true, func(t *testing.T, m *vfs.CrashMem) {
			b := readFile(t, m, file(4, ".log"))
			writeFile(t, m, file(4, ".log"), b[:size])
			eachSnapshot(t, m, func(name string) { must(t, m.Remove(name)) })
		}, seglog.CorruptError{File: file(8, ".log"), Offset: 6}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newDisk(t)
			cfg := seglog.Config{FS: m, SegmentBytes: 2 * size}
			l := open(t, cfg)
			fill(t, l, 10)
			must(t, l.Close())
			if tc.killed {
				open(t, cfg)
				m = crashKeepingAll(t, m)
				cfg.FS = m
			}
			tc.damage(t, m)
			before := logBytes(m)
			_, err := seglog.Open(withDir(cfg))
			ce, ok := errors.AsType[*seglog.CorruptError](err)
			if !ok || ce.File != tc.want.File || ce.Position != tc.want.Position || ce.Offset != tc.want.Offset {
				t.Errorf("Open = %v, want damage in %s at %d, offset %d", err, tc.want.File, tc.want.Position, tc.want.Offset)
			}
			if logBytes(m) != before {
				t.Error("Open changed the log files")
			}
		})
	}
}

// TestReadReportsDamage damages a sealed segment behind the back of an open log.
func TestReadReportsDamage(t *testing.T) {
	m := newDisk(t)
	size := int64(len(batch("0", 2, 0)))
	cfg := seglog.Config{FS: m, SegmentBytes: 4 * size}
	l := open(t, cfg)
	want := fill(t, l, 10)
	must(t, l.Close())
	b := readFile(t, m, file(0, ".log"))
	b[2*size+8] = 0x7f // the length of the third batch
	writeFile(t, m, file(0, ".log"), b)
	l = open(t, cfg)
	r, err := l.Read(0, 1<<20, 20, true)
	must(t, err)
	if r.NextOffset != 4 {
		t.Errorf("Read before the damage ends at %d, want 4", r.NextOffset)
	}
	_, err = l.Read(4, 1<<20, 20, true)
	if ce, ok := errors.AsType[*seglog.CorruptError](err); !ok || ce.File != file(0, ".log") || ce.Position != 2*size || ce.Offset != 4 {
		t.Errorf("Read at the damage = %v", err)
	}
	if diff := cmp.Diff(want[8:], values(t, l, 8)); diff != "" {
		t.Errorf("the next segment: %s", diff)
	}
}

// TestRepairByHand is the way out that docs/format/segment.md gives: without the
// checkpoint nothing counts as durable and the log is cut at the damage.
func TestRepairByHand(t *testing.T) {
	m := newDisk(t)
	cfg := seglog.Config{FS: m}
	l := open(t, cfg)
	want := fill(t, l, 4)
	must(t, l.Close())
	b := readFile(t, m, file(0, ".log"))
	writeFile(t, m, file(0, ".log"), b[:len(b)-1])
	if _, err := seglog.Open(withDir(cfg)); err == nil {
		t.Fatal("Open accepts a damaged log")
	}
	must(t, m.Remove(dir+"/checkpoint"))
	l = open(t, cfg)
	if diff := cmp.Diff(want[:6], values(t, l, 0)); diff != "" {
		t.Error(diff)
	}
}

// TestIndexDamage damages or removes index files: reads and look-ups are right all
// the same, and a line says that an index was made anew.
func TestIndexDamage(t *testing.T) {
	for _, suffix := range []string{".index", ".timeindex"} {
		for name, damage := range map[string]func(b []byte) []byte{
			"gone":    nil,
			"empty":   func([]byte) []byte { return nil },
			"shorter": func(b []byte) []byte { return b[:len(b)-1] },
			"flipped": func(b []byte) []byte { b[3] ^= 1; return b },
			"longer":  func(b []byte) []byte { return append(b, b...) },
			"garbage": func([]byte) []byte { return []byte(strings.Repeat("garbage!", 1000)) },
		} {
			t.Run(suffix[1:]+"/"+name, func(t *testing.T) {
				m := newDisk(t)
				var lines logLines
				cfg := seglog.Config{FS: m, SegmentBytes: 2000, IndexIntervalBytes: 100, Logger: lines.logger()}
				l := open(t, cfg)
				want := fill(t, l, 60)
				must(t, l.Close())
				for _, base := range bases(t, m) {
					if damage == nil {
						must(t, m.Remove(file(base, suffix)))
					} else {
						writeFile(t, m, file(base, suffix), damage(readFile(t, m, file(base, suffix))))
					}
				}
				l = open(t, cfg)
				for _, from := range []int64{0, 1, 50, 77, 119} {
					if diff := cmp.Diff(want[from:], values(t, l, from)); diff != "" {
						t.Errorf("from %d: %s", from, diff)
					}
				}
				if o, _, _, ok, err := l.OffsetForTimestamp(31, 120); o != 61 || !ok || err != nil {
					t.Errorf("OffsetForTimestamp(31) = %d, %v, %v, want 61", o, ok, err)
				}
				if !lines.has("rebuild index") {
					t.Errorf("no line says that an index was rebuilt:\n%s", &lines)
				}
				must(t, l.Close())
				lines = logLines{}
				l = open(t, cfg)
				values(t, l, 0)
				if lines.has("rebuild") {
					t.Errorf("the index is rebuilt at each start:\n%s", &lines)
				}
			})
		}
	}
}

func TestFullDisk(t *testing.T) {
	for _, written := range []int{0, 1, 50} {
		t.Run(fmt.Sprintf("written=%d", written), func(t *testing.T) {
			full := false
			m := newDisk(t)
			cfg := seglog.Config{FS: vfs.Faults(m, func(op vfs.Op) error {
				if full && op.Kind == vfs.OpWrite {
					return &vfs.PartialWrite{N: written, Err: syscall.ENOSPC}
				}
				return nil
			})}
			l := open(t, cfg)
			want := fill(t, l, 3)
			full = true
			for range 2 {
				if _, err := l.Append(batch("lost", 2, 0), 0, epochStart); !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("Append to a full disk: %v, want ENOSPC", err)
				}
			}
			if l.LogEndOffset() != 6 {
				t.Errorf("log end offset %d after failed appends, want 6", l.LogEndOffset())
			}
			if diff := cmp.Diff(want, values(t, l, 0)); diff != "" {
				t.Errorf("reads on a full disk: %s", diff)
			}
			full = false
			if a := appendBatch(t, l, batch("3", 1, 0)); a.BaseOffset != 6 {
				t.Errorf("append after space came back: offset %d, want 6", a.BaseOffset)
			}
			m = crashKeepingAll(t, m)
			l = open(t, seglog.Config{FS: m})
			if diff := cmp.Diff(append(want, "6=3/0"), values(t, l, 0)); diff != "" {
				t.Errorf("after a kill: %s", diff)
			}
		})
	}
}

// TestFullDiskAtRoll lets the new segment's file not be made.
func TestFullDiskAtRoll(t *testing.T) {
	full := false
	m := newDisk(t)
	l := open(t, seglog.Config{SegmentBytes: 250, FS: vfs.Faults(m, func(op vfs.Op) error {
		if full && op.Kind == vfs.OpCreate {
			return syscall.ENOSPC
		}
		return nil
	})})
	want := fill(t, l, 2)
	full = true
	if _, err := l.Append(batch("lost", 2, 0), 0, epochStart); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Append: %v, want ENOSPC", err)
	}
	full = false
	a := appendBatch(t, l, batch("2", 1, 0))
	if diff := cmp.Diff(append(want, "4=2/0"), values(t, l, 0)); diff != "" || a.BaseOffset != 4 {
		t.Errorf("offset %d: %s", a.BaseOffset, diff)
	}
}

// TestFailedTruncationFailsTheLog can't get rid of torn bytes.
func TestFailedTruncationFailsTheLog(t *testing.T) {
	broken := false
	m := newDisk(t)
	l := open(t, seglog.Config{FS: vfs.Faults(m, func(op vfs.Op) error {
		switch {
		case broken && op.Kind == vfs.OpWrite:
			return &vfs.PartialWrite{N: 10, Err: syscall.EIO}
		case broken && op.Kind == vfs.OpTruncate:
			return syscall.EIO
		}
		return nil
	})})
	want := fill(t, l, 2)
	broken = true
	if _, err := l.Append(batch("lost", 2, 0), 0, epochStart); !errors.Is(err, seglog.ErrLogFailed) {
		t.Errorf("Append = %v, want ErrLogFailed", err)
	}
	broken = false
	if _, err := l.Append(batch("lost", 2, 0), 0, epochStart); !errors.Is(err, seglog.ErrLogFailed) {
		t.Errorf("next Append = %v, want ErrLogFailed", err)
	}
	if diff := cmp.Diff(want, values(t, l, 0)); diff != "" {
		t.Errorf("reads: %s", diff)
	}
}

// TestFailedFsync says that nothing is acknowledged after a failed fsync, not even
// if the next one would succeed: the bytes it should have written are gone.
func TestFailedFsync(t *testing.T) {
	failing := false
	m := newDisk(t)
	l := open(t, seglog.Config{FS: vfs.Faults(m, func(op vfs.Op) error {
		if failing && op.Kind == vfs.OpSync {
			return syscall.EIO
		}
		return nil
	}), Flush: seglog.FlushPolicy{Mode: seglog.FlushBatch}})
	want := fill(t, l, 2)
	flush(t, l)
	appendBatch(t, l, batch("2", 2, 0))
	failing = true
	if err := l.Flush(context.Background(), 6); !errors.Is(err, seglog.ErrLogFailed) || !errors.Is(err, syscall.EIO) {
		t.Errorf("Flush = %v, want ErrLogFailed for EIO", err)
	}
	failing = false
	if err := l.Flush(context.Background(), 6); !errors.Is(err, seglog.ErrLogFailed) {
		t.Errorf("second Flush = %v, want ErrLogFailed", err)
	}
	if err := l.Flush(context.Background(), 4); err != nil {
		t.Errorf("Flush of what was durable before = %v", err)
	}
	if _, err := l.Append(batch("3", 2, 0), 0, epochStart); !errors.Is(err, seglog.ErrLogFailed) {
		t.Errorf("Append = %v, want ErrLogFailed", err)
	}
	if l.FlushedOffset() != 4 {
		t.Errorf("FlushedOffset() = %d, want 4", l.FlushedOffset())
	}
	if n := len(values(t, l, 0)); n != 6 {
		t.Errorf("%d records can be read, want 6", n)
	}
	if err := l.Close(); !errors.Is(err, seglog.ErrLogFailed) {
		t.Errorf("Close = %v, want ErrLogFailed", err)
	}
	l = open(t, seglog.Config{FS: m.Crash(rand.New(rand.NewPCG(1, 2)))})
	if diff := cmp.Diff(want, values(t, l, 0)); diff != "" {
		t.Errorf("after the crash: %s", diff)
	}
}

func TestFailedSmallFilesDoNotStopAppends(t *testing.T) {
	failing := false
	var lines logLines
	m := newDisk(t)
	cfg := seglog.Config{SegmentBytes: 250, Logger: lines.logger(), FS: vfs.Faults(m, func(op vfs.Op) error {
		if failing && op.Kind == vfs.OpCreate && !strings.HasSuffix(op.Path, ".log") {
			return syscall.ENOSPC
		}
		return nil
	})}
	l := open(t, cfg)
	failing = true
	want := fill(t, l, 10)
	if err := l.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Close = %v, want ENOSPC", err)
	}
	if !lines.has("settle sealed segment") {
		t.Errorf("no line tells of the failure:\n%s", &lines)
	}
	failing = false
	l = open(t, cfg)
	if diff := cmp.Diff(want, values(t, l, 0)); diff != "" {
		t.Error(diff)
	}
}
