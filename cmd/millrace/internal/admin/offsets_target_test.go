// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseOffsets(t *testing.T) {
	got, err := parseOffsets(strings.NewReader("orders,0,12\norders,1,0\n\"a b\",3,9223372036854775807\n"))
	want := map[topicPartition]int64{{"orders", 0}: 12, {"orders", 1}: 0, {"a b", 3}: 1<<63 - 1}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(topicPartition{})); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for _, bad := range []string{"", "orders,0", "orders,-1,5", "orders,0,-5", "orders,x,5", "orders,0,1,2", "a,1,2\nb"} {
		if got, err := parseOffsets(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is accepted: %v", bad, got)
		}
	}
}

func FuzzParseOffsets(f *testing.F) {
	f.Add("orders,0,12\n")
	f.Add("\"")
	f.Fuzz(func(t *testing.T, s string) {
		all, err := parseOffsets(strings.NewReader(s))
		for tp, o := range all {
			if err == nil && (tp.Partition < 0 || o < 0) {
				t.Fatalf("%v: %d", tp, o)
			}
		}
	})
}

func TestSplitTopic(t *testing.T) {
	for in, want := range map[string]struct {
		topic      string
		partitions []int32
		bad        bool
	}{
		"orders":     {topic: "orders"},
		"orders:3":   {topic: "orders", partitions: []int32{3}},
		"orders:0,2": {topic: "orders", partitions: []int32{0, 2}},
		"orders:":    {bad: true},
		"orders:a":   {bad: true},
		"orders:-1":  {bad: true},
	} {
		topic, partitions, err := splitTopic(in)
		if (err != nil) != want.bad || topic != want.topic || !cmp.Equal(partitions, want.partitions) {
			t.Errorf("splitTopic(%q) = %q, %v, %v", in, topic, partitions, err)
		}
	}
}
