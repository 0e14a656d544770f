// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/broker/internal/seglog"
)

// contents are the records of a batch.
func contents(t testing.TB, b []byte) []string {
	t.Helper()
	var all []string
	must(t, seglog.EachRecord(b, func(r seglog.Record) error {
		all = append(all, fmt.Sprintf("%d %d %q %q %q", r.Offset, r.Timestamp, r.Key, r.Value, r.Headers))
		return nil
	}))
	return all
}

func packed(recs int) []byte {
	all := make([]seglog.Record, recs)
	for i := range all {
		all[i] = seglog.Record{
			Timestamp: int64(1000 - i), Key: fmt.Appendf(nil, "key %d", i), Value: []byte(strings.Repeat("value ", i)),
			Headers: []seglog.RecordHeader{{Key: "h"}, {Key: "", Value: []byte{}}},
		}
	}
	return seglog.BuildBatch(all, seglog.WithProducer(7, 1, 5))
}

// Each codec at each end of its levels keeps the records, from each other codec.
func TestPack(t *testing.T) {
	to := []seglog.Packing{
		{Repack: true},
		{Repack: true, Codec: seglog.CodecGzip, Level: -1},
		{Repack: true, Codec: seglog.CodecGzip, Level: 9},
		{Repack: true, Codec: seglog.CodecSnappy},
		{Repack: true, Codec: seglog.CodecLZ4, Level: 1},
		{Repack: true, Codec: seglog.CodecLZ4, Level: 9},
		{Repack: true, Codec: seglog.CodecLZ4, Level: 17},
		{Repack: true, Codec: seglog.CodecZstd, Level: -131072},
		{Repack: true, Codec: seglog.CodecZstd, Level: 22},
	}
	for _, n := range []int{1, 300} { // 300: more than a block of snappy and LZ4
		plain := packed(n)
		want := contents(t, plain)
		for _, first := range to {
			b, err := first.Pack(plain, 10<<20)
			must(t, err)
			for _, p := range append(to, seglog.Packing{}) {
				again, err := p.Pack(b, 10<<20)
				must(t, err)
				if p.Repack {
					h, err := seglog.ValidateBatch(again, len(again))
					if err != nil || h.Codec() != p.Codec || h.ProducerID != 7 || h.BaseSequence != 5 || h.MaxTimestamp != 1000 {
						t.Errorf("%+v, then %+v: %+v, %v", first, p, h, err)
					}
				} else if &again[0] != &b[0] {
					t.Error("what is to stay as it is was copied")
				}
				if diff := cmp.Diff(want, contents(t, again)); diff != "" {
					t.Errorf("%+v, then %+v:\n%s", first, p, diff)
				}
			}
		}
	}
}

func TestPackRefuses(t *testing.T) {
	gzip := seglog.Packing{Repack: true, Codec: seglog.CodecGzip, Level: -1}
	zeros := seglog.BuildBatch([]seglog.Record{{Value: make([]byte, 1<<20)}})
	small, err := gzip.Pack(zeros, 1<<20)
	must(t, err)
	plain := seglog.Packing{Repack: true}
	if _, err := plain.Pack(small, 100_000); !errors.Is(err, seglog.ErrTooLarge) {
		t.Errorf("1 MiB in 100 kB: %v", err)
	}
	damaged := append([]byte(nil), small...)
	damaged[len(damaged)-1]++
	if _, err := plain.Pack(damaged, 10<<20); !errors.Is(err, seglog.ErrCorruptBatch) {
		t.Errorf("a damaged batch: %v", err)
	}
}
