// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"bytes"
	stdcmp "cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/plan"
)

type aborted = kmsg.FetchResponseTopicPartitionAbortedTransaction

// sealed gives a batch its length and checksum.
func sealed(b []byte) []byte {
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-lengthAfter))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
	return b
}

// log is one partition with transactions, as brokers keep and compact it.
type log struct {
	rng     *rand.Rand
	bytes   []byte
	next    int64
	began   map[int64]int64 // first offset of the open transaction, by producer
	aborted []aborted
	ends    []int64 // of each of them: the offset of its marker
	starts  []start // of each batch
}

type start struct {
	at     int
	offset int64
}

// fetch gives what a broker answers from an offset on: from the batch that has it.
func (l *log) fetch(from int64) ([]byte, []aborted) {
	i, _ := slices.BinarySearchFunc(l.starts, from+1, func(s start, o int64) int { return stdcmp.Compare(s.offset, o) })
	var hits []aborted
	for k, a := range l.aborted {
		if l.ends[k] >= from {
			hits = append(hits, a)
		}
	}
	return l.bytes[l.starts[i-1].at:], hits
}

// record encodes one by the client's types, not by ours.
func (l *log) record(delta int32, key, value []byte, headers []kmsg.Header) []byte {
	r := kmsg.Record{
		TimestampDelta64: l.rng.Int64N(2_000_000) - 1_000_000, OffsetDelta: delta, Key: key, Value: value, Headers: headers,
	}
	body := r.AppendTo(nil)[1:] // without the length, which is 0 now
	return append(binary.AppendVarint(nil, int64(len(body))), body...)
}

func (l *log) add(attrs int, producer int64, records [][]byte, span int32, comp kgo.Compressor) {
	body := bytes.Join(records, nil)
	if comp != nil {
		packed, with := comp.Compress(new(bytes.Buffer), body)
		body, attrs = bytes.Clone(packed), attrs|int(with)
	}
	rb := kmsg.RecordBatch{
		FirstOffset: l.next, PartitionLeaderEpoch: int32(l.next / 50), Magic: 2, Attributes: int16(attrs),
		LastOffsetDelta: span - 1, FirstTimestamp: 1_700_000_000_000 + l.next, MaxTimestamp: 1_700_000_900_000 + l.next,
		ProducerID: producer, NumRecords: int32(len(records)), Records: body,
	}
	l.starts = append(l.starts, start{len(l.bytes), l.next})
	l.bytes = append(l.bytes, sealed(rb.AppendTo(nil))...)
	l.next += int64(span)
}

// grow adds a batch of records, or a marker.
func (l *log) grow() {
	producer := l.rng.Int64N(3)
	if _, open := l.began[producer]; open && l.rng.IntN(3) == 0 {
		kind := byte(l.rng.IntN(2))
		if kind == markerAbort {
			l.aborted = append(l.aborted, aborted{ProducerID: producer, FirstOffset: l.began[producer]})
			l.ends = append(l.ends, l.next)
		}
		delete(l.began, producer)
		l.add(attrControl|attrTransactional, producer, [][]byte{l.record(0, []byte{0, 0, 0, kind}, make([]byte, 6), nil)}, 1, nil)
		return
	}
	attrs := 0
	if l.rng.IntN(3) > 0 {
		attrs = attrTransactional
		if _, open := l.began[producer]; !open {
			l.began[producer] = l.next
		}
	}
	if l.rng.IntN(4) == 0 {
		attrs |= attrLogTime
	}
	span := 1 + l.rng.Int32N(20)
	var records [][]byte
	for delta := range span {
		if l.rng.IntN(5) == 0 {
			continue // compacted away
		}
		var key, value []byte
		if l.rng.IntN(4) > 0 {
			key = fmt.Appendf([]byte{}, "k%d", l.rng.IntN(5))
		}
		if l.rng.IntN(4) > 0 {
			value = bytes.Repeat([]byte("v"), l.rng.IntN(200))
		}
		var headers []kmsg.Header
		for range l.rng.IntN(3) {
			headers = append(headers, kmsg.Header{Key: "h", Value: value})
		}
		records = append(records, l.record(delta, key, value, headers))
	}
	l.add(attrs, producer, records, span, compressors[l.rng.IntN(len(compressors))])
}

// compressors are none, most of the time, and one of each kind.
var compressors = func() []kgo.Compressor {
	all := make([]kgo.Compressor, 4)
	for _, codec := range []kgo.CompressionCodec{kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		c, err := kgo.DefaultCompressor(codec)
		if err != nil {
			panic(err)
		}
		all = append(all, c)
	}
	return all
}()

// Whatever a log looks like, what comes of it is what the client makes of it.
func TestDecodeAgreesWithTheClient(t *testing.T) {
	decomp := kgo.DefaultDecompressor()
	for seed := range uint64(300) {
		l := &log{rng: rand.New(rand.NewPCG(seed, 1)), began: map[int64]int64{}}
		for range 1 + l.rng.IntN(40) {
			l.grow()
		}
		from := l.rng.Int64N(l.next)
		src, hits := l.fetch(from)
		end := len(src) - l.rng.IntN(min(len(src), 100))
		l.rng.Shuffle(len(hits), func(i, j int) { hits[i], hits[j] = hits[j], hits[i] })
		rp := &kmsg.FetchResponseTopicPartition{RecordBatches: src[:end:end], AbortedTransactions: slices.Clone(hits)}
		fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
			Offset: from, IsolationLevel: kgo.ReadCommitted(),
		}, rp, decomp, nil)
		if fp.Err != nil {
			t.Fatalf("SEED=%d: the client answers %v", seed, fp.Err)
		}
		var want []plan.Raw
		bytes := int64(0)
		for _, r := range fp.Records {
			raw := plan.Raw{Key: r.Key, Value: r.Value, Timestamp: r.Timestamp.UnixMilli(), Offset: r.Offset, Epoch: r.LeaderEpoch}
			bytes += RecordCost + int64(len(r.Key)+len(r.Value))
			for _, h := range r.Headers {
				raw.Headers = append(raw.Headers, plan.Header(h))
				bytes += int64(len(h.Key) + len(h.Value))
			}
			want = append(want, raw)
		}
		got, err := Decode(rp.RecordBatches, from, hits, decomp)
		if err != nil || got.Next != max(next, from) || got.Bytes != bytes {
			t.Errorf("SEED=%d: next offset %d and %d bytes, %v; want %d and %d", seed, got.Next, got.Bytes, err, next, bytes)
		}
		if len(want)+len(got.Records) > 0 && !reflect.DeepEqual(want, got.Records) { // which is much faster
			t.Fatalf("SEED=%d: records (-client +decoded):\n%s", seed, cmp.Diff(want, got.Records))
		}
	}
}

// built is a batch as a lane sends it.
func built(records ...plan.Raw) []byte {
	var b Builder
	for _, r := range records {
		b.Add(r.Key, r.Value, r.Timestamp, r.Headers)
	}
	return bytes.Clone(b.Finish(Producer{7, 1}, 5, nil, nil))
}

func TestABatchSurvivesARoundTrip(t *testing.T) {
	want := []plan.Raw{
		{Key: []byte("k"), Value: []byte("v"), Timestamp: 1_700_000_000_000, Epoch: -1},
		{Key: nil, Value: []byte{}, Timestamp: 1_600_000_000_000, Offset: 1, Epoch: -1},
		{Key: []byte{}, Timestamp: 1_800_000_000_000, Offset: 2, Epoch: -1, Headers: []plan.Header{{Key: "h", Value: []byte("x")}, {Key: ""}}},
	}
	src := append(built(want...), "an incomplete batch"...)
	for from := range want {
		got, err := Decode(src, int64(from), nil, nil)
		if err != nil || got.Next != int64(len(want)) || got.Epoch != -1 {
			t.Errorf("from %d: next %d, epoch %d, %v", from, got.Next, got.Epoch, err)
		}
		if diff := cmp.Diff(want[from:], got.Records); diff != "" {
			t.Errorf("from %d: %s", from, diff)
		}
	}
}

// What is before a batch that can't be read is good; of the batch itself nothing is.
func TestABatchThatCannotBeRead(t *testing.T) {
	good := built(plan.Raw{Key: []byte("good")})
	bad := built(plan.Raw{Key: []byte("bad"), Value: []byte("a value")}, plan.Raw{Key: []byte("worse")})
	tests := []struct {
		name  string
		spoil func(b []byte) []byte
		want  error
	}{
		{"a byte is another", func(b []byte) []byte { b[70] ^= 1; return b }, ErrCorrupt},
		{"the last record is cut off", func(b []byte) []byte { return sealed(b[:len(b)-3]) }, ErrCorrupt},
		{"more records are promised", func(b []byte) []byte { b[60] = 9; return sealed(b) }, ErrCorrupt},
		{"offsets go backwards", func(b []byte) []byte { binary.BigEndian.PutUint32(b[23:], 1<<31); return sealed(b) }, ErrCorrupt},
		{"it says that it is compressed", func(b []byte) []byte { b[22] |= 4; return sealed(b) }, ErrCorrupt},
		{"its length is less than a head's", func(b []byte) []byte { binary.BigEndian.PutUint32(b[8:], 20); return b }, ErrCorrupt},
		{"its length is negative", func(b []byte) []byte { binary.BigEndian.PutUint32(b[8:], 1<<31); return b }, ErrCorrupt},
		{"an older format", func(b []byte) []byte { b[16] = 1; return b }, ErrFormat},
		{"a short one of an older format", func(b []byte) []byte { b[16] = 0; binary.BigEndian.PutUint32(b[8:], 20); return b }, ErrFormat},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			second := tt.spoil(bytes.Clone(bad))
			binary.BigEndian.PutUint64(second, 1)
			got, err := Decode(append(bytes.Clone(good), second...), 0, nil, kgo.DefaultDecompressor())
			if !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if len(got.Records) != 1 || string(got.Records[0].Key) != "good" || got.Next != 1 {
				t.Errorf("%d records up to offset %d, want the good one", len(got.Records), got.Next)
			}
		})
	}
}

// From the answer to the engine there is one allocation for all records.
func TestDecodeAllocatesOnce(t *testing.T) {
	var records []plan.Raw
	for i := range 1000 {
		records = append(records, plan.Raw{Key: []byte("key"), Value: []byte("value"), Timestamp: int64(i)})
	}
	src := built(records...)
	n := testing.AllocsPerRun(10, func() {
		if got, err := Decode(src, 0, nil, nil); err != nil || len(got.Records) != len(records) {
			t.Fatal(len(got.Records), err)
		}
	})
	if n > 1 {
		t.Errorf("%v allocations for 1000 records, want 1", n)
	}
}

// uncompressed takes all codecs for none: the real ones' bombs would be all that is found.
type uncompressed struct{}

func (uncompressed) Decompress(src []byte, _ kgo.CompressionCodecType) ([]byte, error) {
	return src, nil
}

func FuzzDecode(f *testing.F) {
	f.Add(built(plan.Raw{Key: []byte("k"), Value: []byte("v"), Headers: []plan.Header{{Key: "h"}}}), int64(0))
	f.Add(append(built(plan.Raw{}), built(plan.Raw{}, plan.Raw{})...), int64(1))
	old := built(plan.Raw{})
	old[magicAt] = 1
	f.Add(old, int64(0))
	decomp := uncompressed{}
	f.Fuzz(func(t *testing.T, src []byte, from int64) {
		if len(src) > headBytes { // else hardly any gets over the checksum
			var got Fetched
			_ = got.records(head(src[:headBytes]), src[headBytes:], from)
			_ = marker(src[headBytes:])
			_, _ = Decode(sealed(bytes.Clone(src)), from, []aborted{{ProducerID: 1, FirstOffset: from}}, decomp)
		}
		got, err := Decode(src, from, nil, decomp)
		if got.Next < from {
			t.Errorf("the next offset is %d, before %d", got.Next, from)
		}
		if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) {
			t.Errorf("error %v is none of the package's", err)
		}
		for _, r := range got.Records {
			if r.Offset < from {
				t.Errorf("a record has offset %d, before %d", r.Offset, from)
			}
		}
	})
}
