// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

// benchBatch is n records of 100 bytes.
func benchBatch(n int) []byte {
	recs := make([]seglog.Record, n)
	for i := range recs {
		recs[i] = seglog.Record{Timestamp: int64(i), Key: fmt.Appendf(nil, "%010d", i), Value: make([]byte, 90)}
	}
	return seglog.BuildBatch(recs)
}

func BenchmarkAppend(b *testing.B) {
	for _, records := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("records=%d", records), func(b *testing.B) {
			l := open(b, seglog.Config{FS: vfs.OS{}, Dir: b.TempDir() + "/t-0", SegmentBytes: 64 << 20})
			batch := benchBatch(records)
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Append(batch, 0, epochStart); err != nil {
					b.Fatal(err)
				}
				if l.Size() > 256<<20 { // leave the disk some room
					b.StopTimer()
					if _, err := l.DeleteRecords(l.LogEndOffset()); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, records := range []int{1, 100} {
		for _, maxBytes := range []int{16 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("records=%d/max=%d", records, maxBytes), func(b *testing.B) {
				l := open(b, seglog.Config{FS: vfs.OS{}, Dir: b.TempDir() + "/t-0"})
				batch := benchBatch(records)
				for l.Size() < 32<<20 {
					if _, err := l.Append(batch, 0, epochStart); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportAllocs()
				var next, read int64
				for b.Loop() {
					r, err := l.Read(next, maxBytes, math.MaxInt64, true)
					if err != nil {
						b.Fatal(err)
					}
					read += int64(len(r.Data))
					if next = r.NextOffset; next >= r.EndOffset {
						next = 0
					}
				}
				b.SetBytes(read / int64(b.N))
			})
		}
	}
}
