// SPDX-License-Identifier: Apache-2.0

package batchlink

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link"
)

func TestBatchSurvivesARoundTrip(t *testing.T) {
	want := []plan.Raw{
		{Key: []byte("k"), Value: []byte("v"), Timestamp: 1_700_000_000_000, Epoch: -1},
		{Key: nil, Value: []byte{}, Timestamp: 1_600_000_000_000, Offset: 1, Epoch: -1},
		{Key: []byte{}, Timestamp: 1_800_000_000_000, Offset: 2, Epoch: -1, Headers: []plan.Header{{Key: "h", Value: []byte("x")}, {Key: ""}}},
	}
	var b batch
	for _, r := range want {
		b.add(r.Key, r.Value, r.Timestamp, r.Headers)
	}
	b.finish(7, 1, 5)
	for from := range want {
		var got link.Batch
		next, err := decode(&got, append(slices.Clip(b.buf), "an incomplete batch"...), int64(from), kgo.DefaultDecompressor())
		if err != nil || next != int64(len(want)) {
			t.Errorf("from %d: next %d, %v", from, next, err)
		}
		if diff := cmp.Diff(want[from:], got.Records); diff != "" {
			t.Errorf("from %d: %s", from, diff)
		}
	}
}

func FuzzDecode(f *testing.F) {
	var b batch
	b.add([]byte("k"), []byte("v"), 1, []plan.Header{{Key: "h"}})
	b.finish(1, 1, 1)
	f.Add(b.buf)
	f.Fuzz(func(_ *testing.T, src []byte) {
		var got link.Batch
		if len(src) > headBytes { // else hardly any gets over the checksum
			head := src[:headBytes]
			_ = decodeRecords(&got, head, src[headBytes:], 0)
		}
		_, _ = decode(&got, src, 0, kgo.DefaultDecompressor())
	})
}
