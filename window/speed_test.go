// SPDX-License-Identifier: Apache-2.0

package window_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/window"
)

func TestAssigningWindowsAllocatesNothing(t *testing.T) {
	specs := map[string]window.TimeSpec{
		"tumbling": window.Tumbling(time.Minute),
		"hopping":  window.Hopping(time.Minute, 10*time.Second),
	}
	keys := window.TimeKey(serde.Int64, time.Minute)
	buf := make([]byte, 0, 64)
	for name, spec := range specs {
		t.Run(name, func(t *testing.T) {
			at, windows := int64(1_600_000_000_000), int64(0)
			assign := func() {
				at += 777
				first, last := spec.Starts(at)
				for start := first; start <= last; start += spec.AdvanceMs() {
					k := window.Key[int64]{Key: at, Start: start, End: start + spec.LengthMs()}
					b, err := keys.Append(buf[:0], k)
					if err != nil {
						t.Fatal(err)
					}
					if back, err := keys.Decode(b); err != nil || back != k {
						t.Fatalf("%v is read as %v, %v", k, back, err)
					}
					windows++
				}
			}
			if got := testing.AllocsPerRun(1000, assign); got != 0 {
				t.Errorf("%v allocations to assign a record to its windows, want none", got)
			}
			if want := 1001 * spec.SizeMs() / spec.AdvanceMs(); windows != want {
				t.Errorf("1001 records are in %d windows, want %d", windows, want)
			}
		})
	}
}
