// SPDX-License-Identifier: Apache-2.0

package link

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/runtime/link/batch"
)

// message is one of format 1, as brokers before 4.0 may still have it.
func message(offset int64, value string) []byte {
	m := kmsg.MessageV1{Offset: offset, Magic: 1, Timestamp: 1234, Key: []byte("k"), Value: []byte(value)}
	b := m.AppendTo(nil)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	binary.BigEndian.PutUint32(b[12:], crc32.ChecksumIEEE(b[16:]))
	return b
}

// batchOfOne is a batch with one record.
func batchOfOne(offset int64, value string) []byte {
	var b batch.Builder
	b.Add([]byte("k"), []byte(value), 1234, nil)
	out := append([]byte{}, b.Finish(batch.Producer{ID: -1, Epoch: -1}, -1, nil, nil)...)
	binary.BigEndian.PutUint64(out, uint64(offset))
	return out
}

func TestWhatComesOfAPartitionIsDecoded(t *testing.T) {
	broken := batchOfOne(8, "broken")
	broken[len(broken)-1] ^= 1
	join := func(parts ...[]byte) []byte {
		var all []byte
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	tests := []struct {
		name  string
		bytes []byte
		want  []string
		next  int64
		fails bool
	}{
		{"nothing", nil, nil, 7, false},
		{"a batch", batchOfOne(7, "a"), []string{"a"}, 8, false},
		{"what was read before", batchOfOne(6, "a"), nil, 7, false},
		{"a batch before a broken one", join(batchOfOne(7, "a"), broken), []string{"a"}, 8, false},
		{"a broken batch", broken, nil, 7, true},
		{"messages of an older format", join(message(7, "a"), message(8, "b")), []string{"a", "b"}, 9, false},
		{"a batch before such", join(batchOfOne(7, "a"), message(8, "b")), []string{"a"}, 8, false},
		{"such before a batch", join(message(7, "a"), batchOfOne(8, "b")), []string{"a", "b"}, 9, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			size := newFetchSize(0, 0)
			f := &fetcher{decomp: kgo.DefaultDecompressor(), size: size}
			a := f.answer(&item{part: cursorA, offset: 7}, &kmsg.FetchResponseTopicPartition{
				HighWatermark: 20, LastStableOffset: 15, RecordBatches: tt.bytes,
			})
			if tt.fails {
				if a.err == nil || a.again {
					t.Errorf("error %v, to be asked again: %v; want one that stays", a.err, a.again)
				}
				return
			}
			var got []string
			bytes := int64(0)
			for _, r := range a.Records {
				got = append(got, string(r.Value))
				bytes += batch.RecordCost + int64(len(r.Key)+len(r.Value))
				if r.Timestamp != 1234 || string(r.Key) != "k" {
					t.Errorf("a record has time %d and key %q", r.Timestamp, r.Key)
				}
			}
			if len(got) != len(tt.want) || a.Next != tt.next || a.err != nil || a.Bytes != bytes || a.end != 15 {
				t.Errorf("%q up to %d of %d with %d bytes, %v; want %q up to %d of 15 with %d", got, a.Next, a.end, a.Bytes, a.err, tt.want, tt.next, bytes)
			}
			for i := range min(len(got), len(tt.want)) {
				if got[i] != tt.want[i] {
					t.Errorf("record %d is %q, want %q", i, got[i], tt.want[i])
				}
			}
		})
	}
}

func TestCodesOfAFetchAreSortedOut(t *testing.T) {
	tests := []struct {
		code       *kerr.Error
		again, out bool
	}{
		{kerr.NotLeaderForPartition, true, false},
		{kerr.FencedLeaderEpoch, true, false},
		{kerr.UnknownLeaderEpoch, true, false},
		{kerr.UnknownTopicID, true, false},
		{kerr.UnknownTopicOrPartition, true, false},
		{kerr.KafkaStorageError, true, false},
		{kerr.OffsetNotAvailable, true, false},
		{kerr.OffsetOutOfRange, false, true},
		{kerr.TopicAuthorizationFailed, false, false},
		{kerr.UnknownServerError, false, false},
	}
	for _, tt := range tests {
		f := &fetcher{}
		a := f.answer(&item{}, &kmsg.FetchResponseTopicPartition{ErrorCode: tt.code.Code})
		if a.again != tt.again || a.out != tt.out || !errors.Is(a.err, tt.code) {
			t.Errorf("%v: asked again %v, out of range %v, %v", tt.code, a.again, a.out, a.err)
		}
	}
}
