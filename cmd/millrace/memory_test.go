// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"testing"

	"github.com/millrace/millrace/broker"
)

func TestHeapLimit(t *testing.T) {
	durable := broker.Config{Dir: "d", RequestMemory: 100 << 20}
	for _, tt := range []struct {
		name string
		flag int64
		env  string
		cfg  broker.Config
		want int64
	}{
		{"a durable broker", 0, "", durable, 456 << 20},
		{"one in memory", 0, "", broker.Config{RequestMemory: 100 << 20}, 0},
		{"the environment says", 0, "1GiB", durable, 0},
		{"the flag says", 7, "1GiB", durable, 7},
		{"none", -1, "", durable, math.MaxInt64},
	} {
		t.Setenv("GOMEMLIMIT", tt.env)
		flags := brokerFlags{memoryLimit: tt.flag}
		if got := flags.heapLimit(&tt.cfg); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
