// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/broker/internal/seglog"
)

// FuzzOpenSegment puts any bytes into the files of a log: Open answers an error or
// a log that can be read, appended to, closed, and opened again with the same content.
func FuzzOpenSegment(f *testing.F) {
	m := newDisk(f)
	l := open(f, seglog.Config{FS: m, IndexIntervalBytes: 100})
	fill(f, l, 3)
	_, err := l.Append(batch("p", 2, 5, seglog.WithProducer(1, 0, 0)), 2, epochStart)
	must(f, err)
	must(f, l.Close())
	log := readFile(f, m, file(0, ".log"))
	index, times := readFile(f, m, file(0, ".index")), readFile(f, m, file(0, ".timeindex"))
	snapshot, checkpoint := readFile(f, m, file(8, ".snapshot")), readFile(f, m, dir+"/checkpoint")
	epochs, clean := readFile(f, m, dir+"/leader-epoch-checkpoint"), readFile(f, m, dir+"/.clean")
	f.Add(log, index, times, snapshot, checkpoint, epochs, clean)
	f.Add(log, []byte{}, []byte{}, []byte{}, []byte{}, []byte{}, []byte{})
	f.Add(log[:len(log)-3], index, times, snapshot, checkpoint, epochs, []byte{})
	f.Add(append(log[:0:0], append(log, log...)...), index, times, snapshot, []byte{}, []byte("0\n1\n0 0\n"), []byte{})
	f.Fuzz(func(t *testing.T, log, index, times, snapshot, checkpoint, epochs, clean []byte) {
		m := newDisk(t)
		must(t, m.MkdirAll(dir, 0o755))
		for name, b := range map[string][]byte{
			file(0, ".log"): log, file(0, ".index"): index, file(0, ".timeindex"): times, file(8, ".snapshot"): snapshot,
			dir + "/checkpoint": checkpoint, dir + "/leader-epoch-checkpoint": epochs, dir + "/.clean": clean,
		} {
			if len(b) > 0 {
				writeFile(t, m, name, b)
			}
		}
		cfg := seglog.Config{FS: m, Dir: dir, IndexIntervalBytes: 100}
		l, err := seglog.Open(cfg)
		if err != nil {
			return
		}
		readAll(l)
		_, _, _, _, _ = l.OffsetForTimestamp(3, math.MaxInt64)
		_, _, _, _, _ = l.MaxTimestamp(math.MaxInt64)
		if end := l.LogEndOffset(); end < math.MaxInt32 {
			if a, err := l.Append(batch("new", 1, 0), math.MaxInt32, epochStart); err == nil && a.BaseOffset != end {
				t.Fatalf("append at %d, the end is %d", a.BaseOffset, end)
			}
		}
		before := readAll(l)
		if err := l.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
		l, err = seglog.Open(cfg)
		if err != nil {
			t.Fatalf("a log that was closed does not open: %v", err)
		}
		if diff := cmp.Diff(before, readAll(l)); diff != "" {
			t.Fatalf("a restart changes what is read: %s", diff)
		}
		must(t, l.Close())
	})
}

// readAll reads what can be read.
func readAll(l *seglog.Log) (data []byte) {
	for next := l.LogStartOffset(); ; {
		r, err := l.Read(next, 1<<20, math.MaxInt64, true)
		if err != nil || len(r.Data) == 0 {
			return data
		}
		data = append(data, r.Data...)
		next = r.NextOffset
	}
}

// trailer is that of an index file, written down a second time as a check of docs/format/segment.md.
func trailer(entries []byte, entrySize, logBytes int) []byte {
	be := binary.BigEndian
	b := append([]byte(nil), entries...)
	b = append(b, "MRIX"...)
	b = be.AppendUint16(b, 1)
	b = be.AppendUint16(b, uint16(entrySize))
	b = be.AppendUint32(b, uint32(len(entries)/entrySize))
	b = be.AppendUint32(b, uint32(logBytes))
	return be.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// FuzzIndex makes index files of any entries, with the right CRC: reads by offset
// are right even then, look-ups by time answer nothing that is not there, and the
// appends that follow are found.
func FuzzIndex(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 0, 0, 0, 85}, []byte{0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2})
	f.Add([]byte{0, 0, 0, 3, 0, 0, 0, 85, 0, 0, 0, 4, 0, 0, 0, 90}, []byte{0x80, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2})
	f.Add([]byte{0xff, 0, 0, 3, 0xff, 0, 0, 85}, []byte{0x7f, 0, 0, 0, 0, 0, 0, 3, 0x7f, 0, 0, 2})
	f.Add([]byte{}, []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 20})    // past the end
	f.Add([]byte{}, []byte{0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3})     // amid a batch
	f.Add([]byte{}, []byte{0x7f, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 2})  // a time that the batch does not have
	f.Add([]byte{}, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0, 0, 12}) // too early, past the end
	f.Add([]byte{0, 0, 0, 12, 0, 0, 0, 91}, []byte{0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 12})
	f.Fuzz(func(t *testing.T, offsets, times []byte) {
		m := newDisk(t)
		cfg := seglog.Config{FS: m, IndexIntervalBytes: 100, SegmentBytes: 1000}
		l := open(t, cfg)
		want := fill(t, l, 20)
		must(t, l.Close())
		for _, base := range bases(t, m) {
			size := len(readFile(t, m, file(base, ".log")))
			writeFile(t, m, file(base, ".index"), trailer(offsets[:len(offsets)/8*8], 8, size))
			writeFile(t, m, file(base, ".timeindex"), trailer(times[:len(times)/12*12], 12, size))
		}
		l = open(t, cfg)
		for _, from := range []int64{0, 7, 19, 24, 39} {
			if diff := cmp.Diff(want[from:], values(t, l, from)); diff != "" {
				t.Fatalf("from %d: %s", from, diff)
			}
		}
		for ts := range int64(22) {
			o, got, _, ok, err := l.OffsetForTimestamp(ts, 40)
			if err != nil || ok && (o < 0 || o >= 40 || got < ts || got != o/2+o%2) {
				t.Fatalf("OffsetForTimestamp(%d) = %d, %d, %v", ts, o, got, err)
			}
		}
		if o, got, _, ok, err := l.MaxTimestamp(40); err != nil || !ok || got != o/2+o%2 {
			t.Fatalf("MaxTimestamp = %d, %d, %v, %v", o, got, ok, err)
		}
		appendBatch(t, l, batch("20", 2, 100))
		if o, got, _, _, err := l.MaxTimestamp(42); err != nil || o != 41 || got != 101 {
			t.Fatalf("MaxTimestamp after an append = %d, %d, %v", o, got, err)
		}
		must(t, l.Close())
	})
}

func TestIndexFilesAreAsDocumented(t *testing.T) {
	m := newDisk(t)
	l := open(t, seglog.Config{FS: m, IndexIntervalBytes: 100})
	fill(t, l, 5)
	must(t, l.Close())
	size := len(batch("0", 2, 0))
	be := binary.BigEndian
	var offsets, times []byte
	for _, i := range []int{2, 4} { // the first batch is not entered; an entry each 100 bytes
		offsets = be.AppendUint32(offsets, uint32(2*i))
		offsets = be.AppendUint32(offsets, uint32(i*size))
		times = be.AppendUint64(times, uint64(i)) // batch i-1 ends at ms i
		times = be.AppendUint32(times, uint32(2*i-2))
	}
	times = be.AppendUint64(times, 5)
	times = be.AppendUint32(times, 8)
	if diff := cmp.Diff(trailer(offsets, 8, 5*size), readFile(t, m, file(0, ".index"))); diff != "" {
		t.Errorf(".index: %s", diff)
	}
	if diff := cmp.Diff(trailer(times, 12, 5*size), readFile(t, m, file(0, ".timeindex"))); diff != "" {
		t.Errorf(".timeindex: %s", diff)
	}
}

// FuzzCompact compacts a batch whose records are any bytes. If they can be decoded,
// what stays is of each key the last, as it was; if not, the batch stays.
func FuzzCompact(f *testing.F) {
	for _, codec := range packings {
		b, err := seglog.Packing{Repack: true, Codec: codec}.Pack(kvBatch(5, nil, "a=1", "b=2", "a", "=3", "b=4"), 1<<20)
		must(f, err)
		f.Add(b[seglog.HeaderSize:], int32(5), byte(codec))
	}
	f.Fuzz(func(t *testing.T, records []byte, n int32, attributes byte) {
		if n < 1 {
			return
		}
		be := binary.BigEndian
		b := kvBatch(5, nil, "x=0")[:seglog.HeaderSize]
		b = append(b, records...)
		be.PutUint32(b[8:], uint32(len(b)-12))
		b[22] = attributes
		be.PutUint32(b[23:], uint32(n-1))
		be.PutUint32(b[57:], uint32(n))
		be.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
		l := open(t, seglog.Config{FS: newDisk(t), SegmentBytes: int64(len(b))})
		if _, err := l.Append(b, 0, epochStart); err != nil {
			return
		}
		if n == math.MaxInt32 { // no room for the batch after it
			return
		}
		var want []string
		last := map[string]int{}
		err := seglog.EachRecord(b, func(r seglog.Record) error {
			if r.Key != nil {
				if i, ok := last[string(r.Key)]; ok {
					want[i] = ""
				}
				last[string(r.Key)] = len(want)
				want = append(want, line(&r))
			}
			return nil
		})
		appendBatch(t, l, kvBatch(0, nil, "end=1"))
		settled(t, l)
		compact(t, l, &seglog.Cleaner{}, everything, epochStart)
		r, rerr := l.Read(0, math.MaxInt32, int64(n), true)
		must(t, rerr)
		h, perr := seglog.ParseHeader(b)
		must(t, perr)
		if err != nil || h.Transactional() {
			if !bytes.Equal(r.Data, b) {
				t.Fatalf("a batch that can't be compacted has changed:\n% x\n% x", b, r.Data)
			}
			return
		}
		want = slices.DeleteFunc(want, func(s string) bool { return s == "" })
		var got []string
		must(t, eachBatch(r.Data, func(b []byte) error {
			if _, err := seglog.ParseHeader(b); err != nil {
				return err
			}
			return seglog.EachRecord(b, func(r seglog.Record) error {
				got = append(got, line(&r))
				return nil
			})
		}))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("compacted: %s", diff)
		}
	})
}

// line tells all of a record.
func line(r *seglog.Record) string {
	return fmt.Sprintf("%d %d %q %q %v %v", r.Offset, r.Timestamp, r.Key, r.Value, r.Value == nil, r.Headers)
}
