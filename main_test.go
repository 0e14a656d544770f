// SPDX-License-Identifier: Apache-2.0

package millrace

import "testing"

func TestSizesOfFlags(t *testing.T) {
	tests := []struct {
		text string
		want int64 // 0: refused
	}{
		{"1024", 1024},
		{"64K", 64 << 10},
		{"512M", 512 << 20},
		{"512MB", 512 << 20},
		{"2GiB", 2 << 30},
		{"1T", 1 << 40},
		{"", 0},
		{"M", 0},
		{"0", 0},
		{"-1G", 0},
		{"1.5G", 0},
		{"1X", 0},
		{"9999999999T", 0},
	}
	for _, tt := range tests {
		var s size
		err := s.Set(tt.text)
		if int64(s) != tt.want || (err == nil) != (tt.want > 0) {
			t.Errorf("size %q is %d with error %v, want %d", tt.text, s, err, tt.want)
		}
	}
}
