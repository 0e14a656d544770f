// SPDX-License-Identifier: Apache-2.0

package link

import (
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestMurmur2IsKafkas(t *testing.T) {
	// Values of Apache Kafka's UtilsTest.
	for in, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(murmur2([]byte(in))); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", in, got, want)
		}
	}
}

func TestKeysGoWhereTheClientsOwnPartitionerSendsThem(t *testing.T) {
	ours, theirs := partitioner{}.ForTopic("t"), kgo.StickyKeyPartitioner(nil).ForTopic("t")
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		key := make([]byte, rnd.IntN(40))
		for i := range key {
			key[i] = byte(rnd.Uint32())
		}
		n := 1 + rnd.IntN(50)
		r := &kgo.Record{Key: key, Partition: AnyPartition}
		if got, want := ours.Partition(r, n), theirs.Partition(r, n); got != want {
			t.Errorf("key %x of %d partitions: %d, want %d", key, n, got, want)
		}
	}
	if got := ours.Partition(&kgo.Record{Key: []byte("k"), Partition: 3}, 50); got != 3 {
		t.Errorf("a record for partition 3 goes to %d", got)
	}
}

func TestAppendingAllocatesNothingInTheLongRun(t *testing.T) {
	l := &lane{budget: newBudget(1 << 40), flight: newFlight(), closed: make(chan struct{})}
	key, value := make([]byte, 10), make([]byte, 90)
	fill := func() {
		for range 10 * slabRecords {
			if l.cur == nil || !l.cur.fits(100) {
				if err := l.turn(100); err != nil {
					t.Fatal(err)
				}
			}
			l.cur.add(key, value, nil)
			l.cur.release(1) // acknowledged
		}
		l.retire()
	}
	if allocs := testing.AllocsPerRun(5, fill); allocs > 2 {
		t.Errorf("%v allocations for %d records, want at most 2", allocs, 10*slabRecords)
	}
}
