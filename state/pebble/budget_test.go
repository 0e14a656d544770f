// SPDX-License-Identifier: Apache-2.0

package pebble

import (
	"testing"

	"github.com/millrace/millrace/state"
)

func TestABudgetSetsTheCacheUnlessOptionsDo(t *testing.T) {
	budget := state.NewBudget(8 << 20)
	tests := []struct {
		name string
		opts []Option
		late bool
		want int64
	}{
		{"no options", nil, false, 4 << 20 / 8 * 5},
		{"an option", []Option{BlockCache(1 << 20)}, false, 1 << 20},
		{"after the first Open", nil, true, 64 << 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at := At(t.TempDir(), tt.opts...)
			open := func() {
				db, err := at.Open("task")
				if err != nil {
					t.Fatal(err)
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if tt.late {
				open()
			}
			at.(state.Budgeted).UseBudget(budget, 4)
			open()
			if got := at.(*backend).blocks().MaxSize(); got != tt.want {
				t.Errorf("the cache takes %d bytes, want %d", got, tt.want)
			}
			if err := at.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
