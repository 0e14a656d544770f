// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

// A slice has the bytes that a read returns, whatever is asked for.
func TestSliceIsARead(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	l := open(t, seglog.Config{FS: newDisk(t), SegmentBytes: 20_000, IndexIntervalBytes: 500})
	for l.LogEndOffset() < 2000 {
		appendBatch(t, l, batch("b", 1+rnd.IntN(40), 1))
	}
	end := l.LogEndOffset()
	for range 5000 {
		from, limit := rnd.Int64N(end+1), rnd.Int64N(end+10)
		maxBytes, minOne := rnd.IntN(30_000), rnd.IntN(2) == 0
		if rnd.IntN(3) == 0 {
			limit = end
		}
		r, err := l.Read(from, maxBytes, limit, minOne)
		must(t, err)
		s, err := l.Slice(from, maxBytes, limit, minOne)
		must(t, err)
		got := make([]byte, s.Len())
		if _, err := s.ReadAt(got, 0); err != nil {
			t.Fatalf("ReadAt: %v", err)
		}
		if !bytes.Equal(got, r.Data) || s.NextOffset != r.NextOffset {
			t.Fatalf("Slice(%d, %d, %d, %v) has %d bytes up to %d, Read %d up to %d",
				from, maxBytes, limit, minOne, s.Len(), s.NextOffset, len(r.Data), r.NextOffset)
		}
		if s.Len() > 3 {
			if n, err := s.ReadAt(make([]byte, 10), int64(s.Len())-3); n != 3 || !errors.Is(err, io.EOF) {
				t.Fatalf("read over the end: %d, %v", n, err)
			}
		}
		s.Release()
		s.Release()
	}
	if _, err := l.Slice(end+1, 1, end, true); !errors.Is(err, seglog.ErrOffsetOutOfRange) {
		t.Errorf("beyond the end: %v", err)
	}
	must(t, l.Close())
	if _, err := l.Slice(end, 1, end, true); !errors.Is(err, seglog.ErrClosed) {
		t.Errorf("of a closed log: %v", err)
	}
}

// What was sliced can be read although its segment is deleted, or its log closed.
func TestSliceOutlivesItsSegment(t *testing.T) {
	for name, end := range map[string]func(*seglog.Log) error{
		"deleted": func(l *seglog.Log) error { _, err := l.DeleteRecords(l.LogEndOffset()); return err },
		"closed":  (*seglog.Log).Close,
		"removed": (*seglog.Log).Remove,
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, seglog.Config{FS: vfs.OS{}, Dir: t.TempDir() + "/t-0", SegmentBytes: 1000})
			for range 50 {
				appendBatch(t, l, batch("b", 10, 1))
			}
			want, err := l.Read(0, 500, 500, true)
			must(t, err)
			s, err := l.Slice(0, 500, 500, true)
			must(t, err)
			must(t, end(l))
			got := make([]byte, s.Len())
			if _, err := s.ReadAt(got, 0); err != nil || !bytes.Equal(got, want.Data) {
				t.Errorf("%d bytes, %v; want %d", len(got), err, len(want.Data))
			}
			f, at := s.File()
			if f == nil {
				t.Fatal("no file")
			}
			if _, err := f.ReadAt(got, at); err != nil || !bytes.Equal(got, want.Data) {
				t.Errorf("the file has other bytes at %d: %v", at, err)
			}
			s.Release()
			if _, err := f.ReadAt(got, at); err == nil {
				t.Error("the file stays open after Release")
			}
		})
	}
}
