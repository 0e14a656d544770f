// SPDX-License-Identifier: Apache-2.0

package link

import (
	"math"
	"testing"
)

func TestGrowthGivesHowMuchToAskFor(t *testing.T) {
	const least, most = 16 << 10, 1 << 20
	tests := []struct {
		name   string
		grown  int // of each byte
		memory int64
		want   int32
	}{
		{"no bound", 20, 0, most},
		{"far from the bound", 1, 1 << 30, most},
		{"twenty times as large", 20, 4 << 20, 4 << 20 / 20},
		{"never too small to go on", 1000, 1 << 20, least},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGrowth()
			for range 100 {
				g.add(100_000, 100_000*tt.grown)
			}
			got := g.bytes(tt.memory, least, most)
			if math.Abs(float64(got-tt.want)) > float64(tt.want)/50 {
				t.Errorf("%d bytes, want %d", got, tt.want)
			}
		})
	}
}

// What came long ago counts no more.
func TestGrowthForgets(t *testing.T) {
	g := newGrowth()
	if n := g.bytes(8<<20, 0, math.MaxInt32); n != 1<<20 {
		t.Errorf("%d bytes are asked for before anything is known", n)
	}
	for range 1000 {
		g.add(1<<20, 1<<20)
	}
	for range 6 {
		g.add(1<<20, 30<<20)
	}
	if n := g.bytes(30<<20, 0, math.MaxInt32); n > 12<<20/10 {
		t.Errorf("%d bytes are asked for, as if they did not grow to the thirtyfold", n)
	}
}
