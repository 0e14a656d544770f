// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"testing"

	"github.com/millrace/millrace/broker/internal/seglog"
)

func TestCountRecords(t *testing.T) {
	one := seglog.BuildBatch([]seglog.Record{{Value: []byte("a")}})
	three := seglog.BuildBatch([]seglog.Record{{}, {}, {}})
	both := append(append([]byte{}, one...), three...)
	for _, c := range []struct {
		name string
		in   []byte
		want int64
	}{
		{"nothing", nil, 0},
		{"a batch", three, 3},
		{"two batches", both, 4},
		{"a batch and the beginning of another", both[:len(one)+20], 1},
		{"less than a header", one[:60], 0},
		{"a length that is not in it", append(append([]byte{}, one[:8]...), make([]byte, 60)...), 0},
	} {
		if got := seglog.CountRecords(c.in); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
