// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker/internal/seglog"
)

// The records of the tests of codecs: nulls, empty values, headers, time going back.
var sample = []seglog.Record{
	{Offset: 0, Timestamp: 1_700_000_000_000, Key: []byte("key"), Value: []byte("value")},
	{Offset: 1, Timestamp: 1_700_000_000_500, Value: []byte("no key")},
	{Offset: 2, Timestamp: 1_699_999_999_000, Key: []byte("tombstone")},
	{Offset: 3, Timestamp: 1_700_000_000_001, Key: []byte{}, Value: []byte{}, Headers: []seglog.RecordHeader{
		{Key: "trace", Value: []byte("abc")}, {Key: ""}, {Key: "trace", Value: []byte{}},
	}},
	{Offset: 4, Timestamp: 1_700_000_001_000, Value: bytes.Repeat([]byte("long "), 20_000)},
}

// kmsgBatch encodes records with franz-go's structs, packed by pack.
func kmsgBatch(codec int16, recs []seglog.Record, pack func([]byte) []byte) []byte {
	var body []byte
	maxTs := recs[0].Timestamp
	for i, r := range recs {
		maxTs = max(maxTs, r.Timestamp)
		k := kmsg.Record{TimestampDelta64: r.Timestamp - recs[0].Timestamp, OffsetDelta: int32(i), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			k.Headers = append(k.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
		}
		k.Length = int32(len(k.AppendTo(nil)) - 1) // a length of 0 takes one byte
		body = k.AppendTo(body)
	}
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: codec, LastOffsetDelta: int32(len(recs) - 1),
		FirstTimestamp: recs[0].Timestamp, MaxTimestamp: maxTs, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		NumRecords: int32(len(recs)), Records: pack(body),
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	return fixCRC(raw)
}

func fixCRC(b []byte) []byte {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func plain(b []byte) []byte { return b }

func packWith(newWriter func(io.Writer) io.WriteCloser) func([]byte) []byte {
	return func(b []byte) []byte {
		var out bytes.Buffer
		w := newWriter(&out)
		if _, err := w.Write(b); err != nil {
			panic(err)
		}
		if err := w.Close(); err != nil {
			panic(err)
		}
		return out.Bytes()
	}
}

// packXerial frames snappy blocks of 32 KiB as the Java client does.
func packXerial(b []byte) []byte {
	out := []byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01")
	for len(b) > 0 {
		block := snappy.Encode(nil, b[:min(len(b), 32<<10)])
		out = binary.BigEndian.AppendUint32(out, uint32(len(block)))
		out = append(out, block...)
		b = b[min(len(b), 32<<10):]
	}
	return out
}

var (
	packGzip = packWith(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	packLZ4  = packWith(func(w io.Writer) io.WriteCloser { return lz4.NewWriter(w) })
	packZstd = packWith(func(w io.Writer) io.WriteCloser {
		z, err := zstd.NewWriter(w)
		if err != nil {
			panic(err)
		}
		return z
	})
	packSnappy = func(b []byte) []byte { return snappy.Encode(nil, b) }
)

var codecs = []struct {
	name  string
	codec int16
	pack  func([]byte) []byte
}{
	{"none", 0, plain},
	{"gzip", 1, packGzip},
	{"snappy raw", 2, packSnappy},
	{"snappy xerial", 2, packXerial},
	{"lz4", 3, packLZ4},
	{"zstd", 4, packZstd},
}

func records(batch []byte) (recs []seglog.Record, err error) {
	err = seglog.EachRecord(batch, func(r seglog.Record) error {
		r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
		r.Headers = append([]seglog.RecordHeader(nil), r.Headers...)
		for i, h := range r.Headers {
			r.Headers[i].Value = bytes.Clone(h.Value)
		}
		recs = append(recs, r)
		return nil
	})
	return recs, err
}

func TestCodecs(t *testing.T) {
	for _, tc := range codecs {
		t.Run(tc.name, func(t *testing.T) {
			b := kmsgBatch(tc.codec, sample, tc.pack)
			h, err := seglog.ValidateBatch(b, len(b))
			must(t, err)
			if h.Codec() != seglog.Codec(tc.codec) || h.MaxTimestamp != 1_700_000_001_000 || h.Records != 5 {
				t.Errorf("header = %+v", h)
			}
			got, err := records(b)
			must(t, err)
			if diff := cmp.Diff(sample, got); diff != "" {
				t.Error(diff)
			}
			l := open(t, seglog.Config{FS: newDisk(t)})
			appendBatch(t, l, batch("before", 3, 0))
			appendBatch(t, l, b)
			o, ts, _, ok, err := l.OffsetForTimestamp(1_700_000_000_501, math.MaxInt64)
			if o != 7 || ts != 1_700_000_001_000 || !ok || err != nil {
				t.Errorf("OffsetForTimestamp = %d, %d, %v, %v, want 7", o, ts, ok, err)
			}
			r, err := l.Read(3, 1<<20, 8, true)
			must(t, err)
			if !bytes.Equal(r.Data[16:], b[16:]) {
				t.Error("the batch is not stored as it was sent")
			}
		})
	}
}

func TestBuildBatchIsWhatKmsgEncodes(t *testing.T) {
	if diff := cmp.Diff(kmsgBatch(0, sample, plain), seglog.BuildBatch(sample)); diff != "" {
		t.Error(diff)
	}
	b := seglog.BuildBatch(sample, seglog.WithProducer(77, 3, 12))
	var k kmsg.RecordBatch
	must(t, k.ReadFrom(b))
	if k.ProducerID != 77 || k.ProducerEpoch != 3 || k.FirstSequence != 12 {
		t.Errorf("producer %d, %d, %d, want 77, 3, 12", k.ProducerID, k.ProducerEpoch, k.FirstSequence)
	}
}

func TestLogAppendTime(t *testing.T) {
	b := batch("x", 2, 1000)
	b[22] |= 1 << 3
	binary.BigEndian.PutUint64(b[35:], 5000)
	recs, err := records(fixCRC(b))
	must(t, err)
	if recs[0].Timestamp != 5000 || recs[1].Timestamp != 5000 {
		t.Errorf("timestamps %d, %d, want 5000", recs[0].Timestamp, recs[1].Timestamp)
	}
}

func TestValidateBatch(t *testing.T) {
	good := batch("x", 3, 1000)
	be := binary.BigEndian
	for _, tc := range []struct {
		name   string
		change func(b []byte) []byte // the CRC is made right afterwards, if there is one
		want   error
	}{
		{"as built", plain, nil},
		{"empty", func([]byte) []byte { return nil }, seglog.ErrCorruptBatch},
		{"shorter than a magic", func(b []byte) []byte { return b[:16] }, seglog.ErrCorruptBatch},
		{"a header in part", func(b []byte) []byte { return b[:60] }, seglog.ErrCorruptBatch},
		{"a batch in part", func(b []byte) []byte { return b[:len(b)-1] }, seglog.ErrCorruptBatch},
		{"negative length", func(b []byte) []byte { be.PutUint32(b[8:], 0xffffffff); return b }, seglog.ErrCorruptBatch},
		{"length of the largest int32", func(b []byte) []byte { be.PutUint32(b[8:], math.MaxInt32); return b }, seglog.ErrCorruptBatch},
		{"length below a header", func(b []byte) []byte { be.PutUint32(b[8:], 48); return b }, seglog.ErrCorruptBatch},
		{"magic 0", func(b []byte) []byte { b[16] = 0; return b }, seglog.ErrUnsupportedMagic},
		{"magic 1", func(b []byte) []byte { b[16] = 1; return b }, seglog.ErrUnsupportedMagic},
		{"a short batch of magic 1", func(b []byte) []byte { b[16] = 1; return b[:34] }, seglog.ErrUnsupportedMagic},
		{"magic 3", func(b []byte) []byte { b[16] = 3; return b }, seglog.ErrCorruptBatch},
		{"a second batch", func(b []byte) []byte { return append(b, b...) }, seglog.ErrInvalidRecord},
		{"codec 5", func(b []byte) []byte { b[22] = 5; return b }, seglog.ErrBadCodec},
		{"control", func(b []byte) []byte { b[22] = 1 << 5; return b }, seglog.ErrInvalidRecord},
		{"log append time", func(b []byte) []byte { b[22] = 1 << 3; return b }, seglog.ErrInvalidRecord},
		{"transaction without producer", func(b []byte) []byte { b[22] = 1 << 4; return b }, seglog.ErrInvalidRecord},
		{"no records", func(b []byte) []byte { be.PutUint32(b[57:], 0); return b }, seglog.ErrInvalidRecord},
		{"fewer records than offsets", func(b []byte) []byte { be.PutUint32(b[57:], 2); return b }, seglog.ErrInvalidRecord},
		{"more records than there are", func(b []byte) []byte {
			be.PutUint32(b[57:], 4)
			be.PutUint32(b[23:], 3)
			return b
		}, seglog.ErrInvalidRecord},
		{"fewer records than there are", func(b []byte) []byte {
			be.PutUint32(b[57:], 2)
			be.PutUint32(b[23:], 1)
			return b
		}, seglog.ErrInvalidRecord},
		{"negative last offset delta", func(b []byte) []byte { be.PutUint32(b[23:], 0x80000000); return b }, seglog.ErrCorruptBatch},
		{"an offset delta twice", func(b []byte) []byte { b[64] = 4; return b }, seglog.ErrInvalidRecord},
		{"producer without sequence", func(b []byte) []byte { be.PutUint64(b[43:], 5); return b }, seglog.ErrInvalidRecord},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := tc.change(bytes.Clone(good))
			if len(b) >= seglog.HeaderSize {
				n := min(len(b), len(good))
				fixCRC(b[:n])
			}
			if _, err := seglog.ValidateBatch(b, 1<<20); !errors.Is(err, tc.want) {
				t.Errorf("ValidateBatch = %v, want %v", err, tc.want)
			}
			l := open(t, seglog.Config{FS: newDisk(t)})
			if _, err := l.Append(b, 0, epochStart); !errors.Is(err, tc.want) {
				t.Errorf("Append = %v, want %v", err, tc.want)
			}
			if tc.want != nil && (l.LogEndOffset() != 0 || l.Size() != 0) {
				t.Error("a refused batch is in the log")
			}
		})
	}
	for i := 21; i < len(good); i++ {
		b := bytes.Clone(good)
		b[i] ^= 0x10
		if _, err := seglog.ValidateBatch(b, 1<<20); err == nil {
			t.Errorf("byte %d flipped: accepted", i)
		}
	}
	if _, err := seglog.ValidateBatch(good, len(good)-1); !errors.Is(err, seglog.ErrTooLarge) {
		t.Errorf("over the limit: %v, want ErrTooLarge", err)
	}
}

// TestUndecodableBatchesDoNotStopLookUps stores a batch whose compressed bytes are
// garbage: the log keeps it, and look-ups by time answer the batch.
func TestUndecodableBatchesDoNotStopLookUps(t *testing.T) {
	for codec := int16(1); codec <= 4; codec++ {
		b := kmsgBatch(codec, sample, func([]byte) []byte { return []byte("not packed at all") })
		if _, err := records(b); !errors.Is(err, seglog.ErrInvalidRecord) {
			t.Errorf("codec %d: EachRecord = %v, want ErrInvalidRecord", codec, err)
		}
		l := open(t, seglog.Config{FS: newDisk(t)})
		appendBatch(t, l, b)
		if o, ts, _, ok, err := l.OffsetForTimestamp(1_700_000_000_700, 5); o != 0 || ts != 1_700_000_001_000 || !ok || err != nil {
			t.Errorf("codec %d: OffsetForTimestamp = %d, %d, %v, %v", codec, o, ts, ok, err)
		}
		if o, _, _, ok, err := l.MaxTimestamp(5); o != 0 || !ok || err != nil {
			t.Errorf("codec %d: MaxTimestamp = %d, %v, %v", codec, o, ok, err)
		}
		must(t, l.Close())
	}
}

// TestBombs unpacks batches that claim or hold far more than they weigh.
func TestBombs(t *testing.T) {
	zeros := func(n int64) []byte { return append(binary.AppendVarint(nil, n), make([]byte, n)...) }
	claim := binary.AppendVarint(nil, 60<<20)
	for _, tc := range []struct {
		name  string
		codec int16
		body  []byte
	}{
		{"a gigabyte claimed, gzip", 1, packGzip(binary.AppendVarint(nil, 1<<30))},
		{"60 MiB claimed, lz4", 3, packLZ4(claim)},
		{"60 MiB claimed, zstd", 4, packZstd(claim)},
		{"a long raw snappy block claimed", 2, []byte{0xff, 0xff, 0xff, 0x3f, 0, 0}},
		{"a long framed snappy block claimed", 2, append(packXerial(nil), 0, 0, 0, 6, 0xff, 0xff, 0xff, 0x3f, 0, 0)},
		{"a block beyond the end", 2, append(packXerial(nil), 0xff, 0xff, 0xff, 0xff)},
		{"100 MiB of zeros in one record, gzip", 1, packGzip(zeros(100 << 20))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := kmsgBatch(tc.codec, sample, func([]byte) []byte { return tc.body })
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := records(b)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, seglog.ErrInvalidRecord) {
				t.Errorf("EachRecord = %v, want ErrInvalidRecord", err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 24<<20 {
				t.Errorf("EachRecord of %d bytes used %d bytes of memory", len(b), used)
			}
		})
	}
}

func TestEachRecordStopsAtAnError(t *testing.T) {
	stop := errors.New("stop")
	for _, tc := range codecs {
		n := 0
		err := seglog.EachRecord(kmsgBatch(tc.codec, sample, tc.pack), func(seglog.Record) error {
			n++
			if n == 2 {
				return stop
			}
			return nil
		})
		if !errors.Is(err, stop) || n != 2 {
			t.Errorf("%s: EachRecord = %v after %d records, want stop after 2", tc.name, err, n)
		}
	}
}

func FuzzValidateBatch(f *testing.F) {
	for _, tc := range codecs {
		f.Add(kmsgBatch(tc.codec, sample[:4], tc.pack))
	}
	f.Add(batch("x", 3, 0, seglog.WithProducer(1, 2, 3)))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = seglog.ValidateBatch(b, 1<<20)
		if len(b) < seglog.HeaderSize {
			return
		}
		b = fixCRC(bytes.Clone(b))
		h, err := seglog.ValidateBatch(b, 1<<20)
		if err != nil {
			return
		}
		// What is accepted is stored as it is, and can be read back.
		l := open(t, seglog.Config{FS: newDisk(t)})
		if _, err := l.Append(bytes.Clone(b), 0, epochStart); err != nil {
			t.Fatalf("a valid batch is refused: %v", err)
		}
		r, err := l.Read(0, 1, math.MaxInt64, true)
		if err != nil || len(r.Data) != h.Length || !bytes.Equal(r.Data[16:], b[16:]) {
			t.Fatalf("Read = %d bytes, %v, want the %d bytes sent", len(r.Data), err, h.Length)
		}
		if _, _, _, _, err := l.OffsetForTimestamp(h.MaxTimestamp, math.MaxInt64); err != nil {
			t.Fatal(err)
		}
		must(t, l.Close())
	})
}

func FuzzEachRecord(f *testing.F) {
	for _, tc := range codecs {
		f.Add(kmsgBatch(tc.codec, sample[:4], tc.pack))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		recs, err := records(b)
		if err != nil || len(recs) == 0 {
			return
		}
		for i := range recs {
			recs[i].Offset = int64(i)
		}
		again, err := records(seglog.BuildBatch(recs))
		if err != nil {
			t.Fatalf("records do not survive a round trip: %v", err)
		}
		if diff := cmp.Diff(fmt.Sprint(recs), fmt.Sprint(again)); diff != "" {
			t.Fatal(diff)
		}
	})
}
