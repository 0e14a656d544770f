// SPDX-License-Identifier: Apache-2.0

package link

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/runtime/link/batch"
)

// office is an outbox with a clock and leaders.
type office struct {
	*outbox
	now    time.Time
	leader map[int32]int32 // by partition
	flight *flight
	dest   *Dest
}

func newOffice(linger time.Duration) *office {
	return &office{
		outbox: newOutbox(linger), now: time.Unix(1000, 0), flight: newFlight(), dest: NewDest("t", AnyPartition),
		leader: map[int32]int32{0: 1, 1: 1, 2: 2},
	}
}

func (o *office) append(num int32, value string, limit int) {
	p := o.pile(Partition{"t", num}, limit)
	size := RecordBytes(nil, []byte(value), nil)
	if !p.begun(size) {
		o.begin(p, o.flight, o.now)
	}
	p.add(o.dest, size, nil, []byte(value), 1, nil)
}

func (o *office) takeNow() ([]*shipment, time.Time) {
	return o.take(o.now, func(p Partition) int32 { return o.leader[p.Num] })
}

// contents are the values of a shipment's batches.
func contents(t *testing.T, s *shipment) []string {
	t.Helper()
	var got []string
	for _, ld := range s.loads {
		ld.batch.bytes = ld.batch.Finish(batch.Producer{}, ld.batch.sequence, nil, nil)
		got = append(got, fmt.Sprintf("%d@%d", ld.pile.at.Num, ld.batch.sequence))
		got = append(got, values(t, ld.batch.bytes)...)
	}
	return got
}

func values(t *testing.T, b []byte) []string {
	t.Helper()
	f, err := batch.Decode(b, 0, nil, kgo.DefaultDecompressor())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range f.Records {
		got = append(got, string(r.Value))
	}
	return got
}

func (o *office) expect(t *testing.T, what string, want ...[]string) []*shipment {
	t.Helper()
	out, _ := o.takeNow()
	var got [][]string
	for _, s := range out {
		got = append(got, contents(t, s))
	}
	if !slices.EqualFunc(got, want, slices.Equal[[]string]) {
		t.Fatalf("%s: %q is sent, want %q", what, got, want)
	}
	return out
}

func TestABatchWaitsForItsLinger(t *testing.T) {
	o := newOffice(10 * time.Millisecond)
	o.append(0, "a", 1000)
	o.expect(t, "at once")
	if _, next := o.takeNow(); !next.Equal(o.now.Add(10 * time.Millisecond)) {
		t.Errorf("the next look is at %v, want in 10 ms of %v", next, o.now)
	}
	o.now = o.now.Add(9 * time.Millisecond)
	o.append(0, "b", 1000)
	o.append(1, "c", 1000)
	o.expect(t, "after 9 ms")
	o.now = o.now.Add(time.Millisecond)
	o.expect(t, "after 10 ms", []string{"0@0", "a", "b"})
	o.sealAll()
	o.expect(t, "at a barrier", []string{"1@0", "c"})
}

func TestAFullBatchWaitsForNothing(t *testing.T) {
	o := newOffice(time.Hour)
	size := RecordBytes(nil, []byte("a"), nil)
	for _, v := range []string{"a", "b", "c"} {
		o.append(0, v, size+70) // a batch with one record has 69 bytes
	}
	s := o.expect(t, "two are a batch", []string{"0@0", "a", "b"})
	o.landed(o.pile(Partition{"t", 0}, 0))
	o.back(s[0])
	o.expect(t, "the rest")
	o.hurry = true
	o.expect(t, "the rest, in a hurry", []string{"0@2", "c"})
}

func TestABatchIsSentAgainBeforeTheNextOne(t *testing.T) {
	o := newOffice(0)
	o.append(0, "a", 1000)
	s := o.expect(t, "the first", []string{"0@0", "a"})
	o.append(0, "b", 1000)
	o.append(2, "x", 1000)
	o.expect(t, "beside one that is under way", []string{"2@0", "x"})
	o.retry(s[0].loads[0].pile, o.now)
	o.back(s[0])
	o.expect(t, "at once after a failure")
	o.now = o.now.Add(backoff(1))
	o.leader[0] = 2
	s = o.expect(t, "later, to another broker", []string{"0@0", "a"})
	if s[0].node != 2 {
		t.Errorf("it goes to broker %d, want 2", s[0].node)
	}
	o.landed(s[0].loads[0].pile)
	o.back(s[0])
	o.expect(t, "the next", []string{"0@1", "b"})
}

func TestABrokerHasFiveRequestsAtMost(t *testing.T) {
	o := newOffice(0)
	var under []*shipment
	for num := range int32(2 * shipments) {
		o.leader[num] = 1
		o.append(num, "v", 1000)
		out, _ := o.takeNow()
		under = append(under, out...)
	}
	if len(under) != shipments {
		t.Fatalf("%d requests are under way, want %d", len(under), shipments)
	}
	o.landed(under[0].loads[0].pile)
	o.back(under[0])
	if out, _ := o.takeNow(); len(out) != 1 || len(out[0].loads) != shipments {
		t.Errorf("then %d requests follow, want 1 with what has waited", len(out))
	}
}

func TestWhatIsUnderWayIsNotDropped(t *testing.T) {
	o := newOffice(0)
	o.append(0, "a", 1000)
	o.takeNow()
	o.append(0, "b", 1000)
	o.append(1, "c", 1000)
	if gone := o.drop(); len(gone) != 2 {
		t.Errorf("%d batches are dropped, want 2", len(gone))
	}
	if p := o.pile(Partition{"t", 0}, 0); len(p.sealed) != 1 || !p.away {
		t.Error("what is under way is gone")
	}
}

func TestSequencesStartAnewAfterTheHighest(t *testing.T) {
	if got := sequenceAfter(0x7fffffff-1, 3); got != 1 {
		t.Errorf("after 3 records from the last but one comes %d, want 1", got)
	}
}

// Whatever is lost on the way, there or back, each partition has what was appended to it, in
// order and once, by a broker that takes each sequence once.
func TestNothingIsLostTwiceOrOvertakes(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		o := newOffice(time.Duration(rng.IntN(3)) * 5 * time.Millisecond)
		want, got := map[int32][]string{}, map[int32][]string{}
		sequence := map[int32]int32{}
		var under []*shipment
		left := 300
		for step := 0; left > 0 || len(o.active) > 0 || len(under) > 0; step++ {
			if step > 100_000 {
				t.Fatalf("seed %d: it does not end", seed)
			}
			switch o.now = o.now.Add(time.Duration(rng.IntN(4)) * time.Millisecond); {
			case left > 0 && rng.IntN(3) > 0:
				left--
				num, v := rng.Int32N(3), fmt.Sprint(left)
				o.append(num, v, 400)
				want[num] = append(want[num], v)
			case rng.IntN(20) == 0:
				o.sealAll()
			case rng.IntN(30) == 0:
				o.leader[rng.Int32N(3)] = rng.Int32N(4) - 1
			case len(under) > 0 && rng.IntN(2) == 0:
				i := rng.IntN(len(under))
				s := under[i]
				under = slices.Delete(under, i, i+1)
				for _, ld := range s.loads {
					num, b := ld.pile.at.Num, ld.batch
					if b.bytes == nil {
						b.bytes = b.Finish(batch.Producer{ID: 1}, b.sequence, nil, nil)
					}
					fate := rng.IntN(4)
					if s.node >= 0 && s.node == o.leader[num] && fate > 0 {
						switch b.sequence {
						case sequence[num]:
							got[num] = append(got[num], values(t, b.bytes)...)
							sequence[num] += b.Records()
						default:
							if b.sequence > sequence[num] {
								t.Fatalf("seed %d: sequence %d comes after %d", seed, b.sequence, sequence[num])
							}
						}
						if fate > 1 {
							o.recycle(o.landed(ld.pile))
							continue
						}
					}
					if s.node >= 0 { // else it goes on at once
						o.retry(ld.pile, o.now)
					}
				}
				o.back(s)
			default:
				out, _ := o.takeNow()
				under = append(under, out...)
			}
		}
		for num := range want {
			if !slices.Equal(got[num], want[num]) {
				t.Fatalf("seed %d: partition %d has %q, want %q", seed, num, got[num], want[num])
			}
		}
	}
}
