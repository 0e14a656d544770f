// SPDX-License-Identifier: Apache-2.0

package link

import (
	"cmp"
	"errors"
	"slices"
	"testing"

	diff "github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link/batch"
)

var (
	cursorA = Partition{"t", 0}
	cursorB = Partition{"t", 1}
	first   = way{node: 1}
	second  = way{node: 1, second: true}
)

// ledBy is what the cluster says of topic t, of two partitions.
func ledBy(node, epoch int32) *led {
	return &led{id: [16]byte{1}, parts: []leader{{node, epoch}, {node, epoch}}}
}

// flowing gives cursors for partitions that flow from an offset on, led by node 1 in epoch 5.
func flowing(keep, offset int64, epoch int32, parts ...Partition) *cursors {
	s := newCursors(keep)
	s.assign(parts)
	s.asks()
	s.leads("t", ledBy(1, 5))
	for _, p := range parts {
		s.begin(p, known, offset, 0, epoch)
	}
	s.resume(parts)
	return s
}

// asked is an item of a job in short, in the order of partitions.
type asked struct {
	What   what
	Num    int32
	Offset int64 // of a listing: the time
	Epoch  int32
}

func (j *job) asked() []asked {
	var all []asked
	for _, it := range j.items {
		a := asked{j.what, it.part.Num, it.offset, it.epoch}
		if j.what == listing {
			a.Offset, a.Epoch = it.at, 0
		}
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b asked) int { return cmp.Compare(a.Num, b.Num) })
	return all
}

// of puts the answers for partitions 0 and 1 in the order of the job's items.
func (j *job) of(zero, one *answer) []*answer {
	answers := []*answer{zero, one}
	if j.items[0].part.Num == 1 {
		slices.Reverse(answers)
	}
	return answers
}

func wantNext(t *testing.T, s *cursors, w way, want ...asked) *job {
	t.Helper()
	j := s.next(w)
	if d := diff.Diff(want, j.asked()); d != "" {
		t.Fatalf("asked for (-want +got):\n%s", d)
	}
	return &j
}

// brought is an answer with records up to an offset, of epoch 5.
func brought(from, next int64) *answer {
	a := &answer{Fetched: batch.Fetched{Next: next, Epoch: 5, Memory: int(next-from) * 100}, end: next, some: true}
	for o := from; o < next; o++ {
		a.Records = append(a.Records, plan.Raw{Offset: o})
	}
	return a
}

// empty is what a fetch brings when there is nothing.
func empty(at int64) *answer { return &answer{Fetched: batch.Fetched{Next: at, Epoch: -1}} }

// offsets gives the first and last offset of each batch that take gives.
func taken(t *testing.T, s *cursors) [][2]int64 {
	t.Helper()
	batches, errs := s.take()
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	var got [][2]int64
	for _, b := range batches {
		got = append(got, [2]int64{b.Records[0].Offset, b.Records[len(b.Records)-1].Offset})
	}
	return got
}

func wantTaken(t *testing.T, s *cursors, want ...[2]int64) {
	t.Helper()
	if d := diff.Diff(want, taken(t, s)); d != "" {
		t.Fatalf("batches (-want +got):\n%s", d)
	}
}

func TestACursorIsFetchedWhenItFlowsIsLedAndItsOffsetIsKnown(t *testing.T) {
	steps := []func(s *cursors){
		func(s *cursors) { s.resume([]Partition{cursorA}) },
		func(s *cursors) { s.leads("t", ledBy(1, 5)) },
		func(s *cursors) { s.begin(cursorA, known, 7, 0, -1) },
	}
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		s := newCursors(0)
		s.assign([]Partition{cursorA})
		if topics := s.asks(); !slices.Equal(topics, []string{"t"}) || len(s.asks()) > 0 {
			t.Fatalf("leaders are asked for of %v, want t once", topics)
		}
		for _, i := range order {
			if j := s.next(first); j.what != nothing {
				t.Errorf("order %v: asked for %v before all is known", order, j.asked())
			}
			steps[i](s)
		}
		wantNext(t, s, first, asked{fetching, 0, 7, -1})
		wantNext(t, s, first)
	}
}

func TestWhatIsFetchedIsPolledOnceAndTheNextIsAskedForThen(t *testing.T) {
	s := flowing(0, 7, -1, cursorA)
	j := wantNext(t, s, first, asked{fetching, 0, 7, -1})
	s.done(j, []*answer{brought(7, 10)})
	wantNext(t, s, first) // a broker is one answer ahead
	clear(s.touched)
	wantTaken(t, s, [2]int64{7, 9})
	if _, ok := s.touched[1]; !ok {
		t.Error("the broker's way is not told that it goes on")
	}
	wantTaken(t, s)
	wantNext(t, s, first, asked{fetching, 0, 10, 5})
}

func TestACursorGoesOnOverWhatHasNoRecords(t *testing.T) {
	s := flowing(0, 7, -1, cursorA)
	j := wantNext(t, s, first, asked{fetching, 0, 7, -1})
	s.done(j, []*answer{{Fetched: batch.Fetched{Next: 9, Epoch: 5}, some: true}})
	if s.pollable() {
		t.Error("there is something to poll")
	}
	j = wantNext(t, s, first, asked{fetching, 0, 9, 5})
	s.done(j, []*answer{empty(9)})
	wantNext(t, s, first, asked{fetching, 0, 9, 5})
}

func TestAPausedCursorKeepsWhatHasComeIfThereIsRoom(t *testing.T) {
	tests := []struct {
		name  string
		keep  int64
		again bool
	}{
		{"no bound", 0, false},
		{"there is room", 300, false},
		{"there is none", 299, true},
	}
	for _, tt := range tests {
		for _, late := range []bool{false, true} {
			name := tt.name + ", paused before it comes"
			if !late {
				name = tt.name + ", paused after it has come"
			}
			t.Run(name, func(t *testing.T) {
				s := flowing(tt.keep, 7, 4, cursorA, cursorB)
				s.done(new(s.next(first)), []*answer{{offset: 100}, {offset: 100}}) // the check
				j := wantNext(t, s, first, asked{fetching, 0, 7, 4}, asked{fetching, 1, 7, 4})
				if late {
					s.pause([]Partition{cursorA})
				}
				s.done(j, j.of(brought(7, 10), empty(7)))
				s.pause([]Partition{cursorA})
				wantTaken(t, s)
				j = wantNext(t, s, first, asked{fetching, 1, 7, 4}) // it holds the other not up
				s.done(j, []*answer{empty(7)})
				s.resume([]Partition{cursorA})
				if s.kept != 0 {
					t.Errorf("%d bytes are counted as kept", s.kept)
				}
				if tt.again {
					wantTaken(t, s)
					wantNext(t, s, first, asked{fetching, 0, 7, 4}, asked{fetching, 1, 7, 4})
					return
				}
				wantNext(t, s, first)
				wantTaken(t, s, [2]int64{7, 9})
				wantNext(t, s, first, asked{fetching, 0, 10, 5}, asked{fetching, 1, 7, 4})
			})
		}
	}
}

func TestASoughtCursorForgetsWhatWasAskedForBefore(t *testing.T) {
	s := flowing(0, 7, 4, cursorA, cursorB)
	s.done(new(s.next(first)), []*answer{{offset: 100}, {offset: 100}})
	j := wantNext(t, s, first, asked{fetching, 0, 7, 4}, asked{fetching, 1, 7, 4})
	s.done(j, j.of(empty(7), brought(7, 8)))
	wantTaken(t, s, [2]int64{7, 7})
	j = wantNext(t, s, first, asked{fetching, 0, 7, 4}, asked{fetching, 1, 8, 5})
	s.seek(map[Partition]int64{cursorA: 3, {"other", 0}: 1})
	k := wantNext(t, s, second, asked{fetching, 0, 3, -1}) // at once, not after the late answer
	s.done(j, j.of(brought(7, 9), brought(8, 9)))
	wantTaken(t, s, [2]int64{8, 8})
	s.done(k, []*answer{brought(3, 5)})
	s.seek(map[Partition]int64{cursorA: 4}) // drops what is ahead
	wantTaken(t, s)
	wantNext(t, s, first, asked{fetching, 0, 4, -1}, asked{fetching, 1, 9, 5})
}

func TestACursorThatWasNotFetchedIsNotSought(t *testing.T) {
	s := newCursors(0)
	s.assign([]Partition{cursorA})
	s.leads("t", ledBy(1, 5))
	s.seek(map[Partition]int64{cursorA: 3})
	s.begin(cursorA, atStart, -1, 0, -1)
	s.seek(map[Partition]int64{cursorA: 3})
	wantNext(t, s, first, asked{listing, 0, -2, 0})
}

func TestAPartitionThatComesBackForgetsWhatItWas(t *testing.T) {
	s := flowing(0, 7, -1, cursorA)
	j := wantNext(t, s, first, asked{fetching, 0, 7, -1})
	s.drop([]Partition{cursorA})
	s.assign([]Partition{cursorA})
	s.leads("t", ledBy(1, 5))
	s.begin(cursorA, known, 3, 0, -1)
	s.done(j, []*answer{brought(7, 9)})
	s.resume([]Partition{cursorA})
	wantTaken(t, s)
	j = wantNext(t, s, first, asked{fetching, 0, 3, -1})
	s.done(j, []*answer{brought(3, 5)})
	s.drop([]Partition{cursorA})
	if wantTaken(t, s); len(s.order) > 0 {
		t.Error("it is there still")
	}
}

func TestWhereACursorBeginsIsListed(t *testing.T) {
	tests := []struct {
		name  string
		from  origin
		lists []asked
		gives []int64
		want  int64
	}{
		{"at the start", atStart, []asked{{listing, 0, -2, 0}}, []int64{11}, 11},
		{"at the end", atEnd, []asked{{listing, 0, -1, 0}}, []int64{20}, 20},
		{"by time", atTime, []asked{{listing, 0, -1, 0}, {listing, 0, 1234, 0}}, []int64{20, 15}, 15},
		{"by a time after all", atTime, []asked{{listing, 0, -1, 0}, {listing, 0, 1234, 0}}, []int64{20, -1}, 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newCursors(0)
			s.assign([]Partition{cursorA})
			s.leads("t", ledBy(1, 5))
			s.begin(cursorA, tt.from, -1, 1234, -1)
			for i, l := range tt.lists { // though it is paused: it begins where that is now
				j := wantNext(t, s, first, l)
				s.done(j, []*answer{{offset: tt.gives[i], epoch: -1}})
			}
			wantNext(t, s, first)
			s.resume([]Partition{cursorA})
			wantNext(t, s, first, asked{fetching, 0, tt.want, -1})
		})
	}
}

func TestOutOfRangeIsTheStartOfTheLog(t *testing.T) {
	s := flowing(0, 7, -1, cursorA)
	j := wantNext(t, s, first, asked{fetching, 0, 7, -1})
	s.done(j, []*answer{{err: errors.New("out of range"), out: true}})
	s.leads("t", ledBy(1, 5))
	j = wantNext(t, s, first, asked{listing, 0, -2, 0})
	s.done(j, []*answer{{offset: 9, epoch: 5}})
	wantNext(t, s, first, asked{fetching, 0, 9, 5})
	if _, errs := s.take(); len(errs) > 0 {
		t.Errorf("it surfaces: %v", errs)
	}
}

func TestANewLeaderIsAskedWhetherItHasWhatWasRead(t *testing.T) {
	tests := []struct {
		name  string
		moved bool // something was fetched before
		end   answer
		want  asked
	}{
		{"it has", true, answer{offset: 12, epoch: 5}, asked{fetching, 0, 10, 5}},
		{"its log is shorter", true, answer{offset: 8, epoch: 4}, asked{fetching, 0, 8, 4}},
		{"it does not know the epoch", true, answer{offset: -1, epoch: -1}, asked{listing, 0, -2, 0}},
		{"it does not know the epoch of what was committed", false, answer{offset: -1, epoch: -1}, asked{fetching, 0, 10, 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at, epoch := int64(10), int32(5)
			if tt.moved {
				at, epoch = 7, -1
			}
			s := flowing(0, at, epoch, cursorA)
			if tt.moved {
				j := wantNext(t, s, first, asked{fetching, 0, 7, -1})
				s.done(j, []*answer{brought(7, 10)})
				wantTaken(t, s, [2]int64{7, 9})
				j = wantNext(t, s, first, asked{fetching, 0, 10, 5})
				s.done(j, []*answer{{err: errors.New("fenced"), again: true}})
				if topics := s.asks(); len(topics) > 0 {
					t.Errorf("leaders are asked for of %v, and are already", topics)
				}
				s.leads("t", ledBy(1, 6))
			}
			j := wantNext(t, s, first, asked{checking, 0, 10, 5})
			s.done(j, []*answer{&tt.end})
			wantNext(t, s, first, tt.want)
		})
	}
}

// Without the second way it would wait for as long as the broker waits for records of others.
func TestACursorThatBeginsToFlowTakesTheSecondWay(t *testing.T) {
	s := flowing(0, 7, -1, cursorA, cursorB)
	s.pause([]Partition{cursorB})
	wantNext(t, s, second) // nobody has to wait
	j := wantNext(t, s, first, asked{fetching, 0, 7, -1})
	wantNext(t, s, second)
	clear(s.touched)
	s.resume([]Partition{cursorB})
	if _, ok := s.touched[1]; !ok {
		t.Error("the broker's ways are not told")
	}
	k := wantNext(t, s, second, asked{fetching, 1, 7, -1})
	if k.rounds != 0 {
		t.Errorf("it has brought nothing %d times before its first", k.rounds)
	}
	s.done(k, []*answer{empty(7)})
	k = wantNext(t, s, second, asked{fetching, 1, 7, -1})
	if k.rounds != 1 {
		t.Errorf("it has brought nothing %d times, want 1", k.rounds)
	}
	s.done(k, []*answer{brought(7, 8)})
	wantNext(t, s, second) // one answer ahead here too
	s.done(j, []*answer{empty(7)})
	wantTaken(t, s, [2]int64{7, 7})
	wantNext(t, s, first, asked{fetching, 0, 7, -1}, asked{fetching, 1, 8, 5})
}

func TestAFailureThatPassesHasTheLeadersAskedForAgain(t *testing.T) {
	for name, answers := range map[string][]*answer{
		"a code":                          {{err: errors.New("not the leader"), again: true}},
		"no answer":                       nil,
		"an answer that lacks it":         {nil},
		"an answer without a whole batch": {{Fetched: batch.Fetched{Next: 7, Epoch: -1}, some: true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := flowing(0, 7, -1, cursorA)
			now := s.parts[cursorA].led
			if _, _, ok := s.wants("t", now); ok {
				t.Error("leaders are asked for before anything fails")
			}
			for tries := 1; tries < 3; tries++ {
				j := wantNext(t, s, first, asked{fetching, 0, 7, -1})
				s.done(j, answers)
				wantNext(t, s, first)
				if topics := s.asks(); len(topics) != 2-tries {
					t.Errorf("leaders are asked for of %v", topics)
				}
				if n, stale, ok := s.wants("t", now); n != tries || !stale || !ok {
					t.Errorf("%d failures, known to have failed: %v, wanted: %v; want %d, true, true", n, stale, ok, tries)
				}
				s.leads("t", now)
			}
			j := wantNext(t, s, first, asked{fetching, 0, 7, -1})
			s.done(j, []*answer{empty(7)})
			if n := s.parts[cursorA].tries; n != 0 {
				t.Errorf("%d failures are counted after a success", n)
			}
		})
	}
}

func TestAFailureThatStaysEndsTheCursorAlone(t *testing.T) {
	s := flowing(0, 7, -1, cursorA, cursorB)
	j := wantNext(t, s, first, asked{fetching, 0, 7, -1}, asked{fetching, 1, 7, -1})
	broken := errors.New("broken")
	s.done(j, j.of(&answer{err: broken}, brought(7, 8)))
	if !s.pollable() {
		t.Error("there is nothing to poll")
	}
	if _, errs := s.take(); len(errs) != 1 || !errors.Is(errs[0], broken) {
		t.Errorf("errors %v, want the one", errs)
	}
	wantNext(t, s, first, asked{fetching, 1, 8, 5})
	if topics := s.asks(); len(topics) > 0 {
		t.Errorf("leaders are asked for of %v", topics)
	}
}

func TestWhoseLeaderIsNotKnownWaits(t *testing.T) {
	tests := []struct {
		name string
		says *led
		want int32 // the node that is asked, -1 for none
	}{
		{"another leader", ledBy(2, 6), 2},
		{"no leader", ledBy(-1, 6), -1},
		{"an epoch from before", ledBy(2, 4), -1},
		{"a topic of the same name", &led{id: [16]byte{2}, parts: []leader{{2, 6}}}, -1},
		{"fewer partitions", &led{id: [16]byte{1}}, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := flowing(0, 7, -1, cursorA)
			j := wantNext(t, s, first, asked{fetching, 0, 7, -1})
			s.done(j, []*answer{brought(7, 8)})
			wantTaken(t, s, [2]int64{7, 7})
			s.done(new(s.next(first)), nil)
			s.asks()
			s.leads("t", tt.says)
			for node := range int32(3) {
				if j := s.next(way{node: node}); (j.what != nothing) != (node == tt.want) {
					t.Errorf("broker %d is asked for %v", node, j.asked())
				}
			}
			if tries, _, ok := s.wants("t", nil); ok != (tt.want < 0) || ok && tries != 2 {
				t.Errorf("a leader is looked for: %v after %d failures", ok, tries)
			}
		})
	}
}

// What was known of a topic may be that of one of its name that was there before.
func TestACursorTakesTheTopicThatIsThereWhenItIsFetched(t *testing.T) {
	s := newCursors(0)
	s.assign([]Partition{cursorA})
	s.leads("t", ledBy(1, 5))
	s.begin(cursorA, atStart, -1, 0, -1)
	s.resume([]Partition{cursorA})
	s.done(wantNext(t, s, first, asked{listing, 0, -2, 0}), []*answer{{offset: 7, epoch: -1}})
	s.done(wantNext(t, s, first, asked{fetching, 0, 7, -1}), []*answer{{err: errors.New("unknown topic id"), again: true}})
	s.leads("t", &led{id: [16]byte{2}, parts: []leader{{1, 0}}})
	if j := wantNext(t, s, first, asked{fetching, 0, 7, -1}); j.items[0].id != [16]byte{2} {
		t.Errorf("the topic with id %v is fetched", j.items[0].id)
	}
}

func TestATopicThatMayNotBeSeenEndsItsCursors(t *testing.T) {
	s := newCursors(0)
	s.assign([]Partition{cursorA})
	s.asks()
	s.unled("t", errors.New("unknown"), false)
	if s.pollable() {
		t.Error("a topic that is not known yet is an error")
	}
	s.unled("t", errors.New("not allowed"), true)
	if _, errs := s.take(); len(errs) != 1 {
		t.Errorf("errors %v, want one", errs)
	}
	if _, _, ok := s.wants("t", nil); ok {
		t.Error("the leader is still looked for")
	}
}

// A broker fills its answer from the first partition on.
func TestEachPartitionIsTheFirstOfARequestInTurn(t *testing.T) {
	parts := []Partition{{"t", 0}, {"t", 1}, {"t", 2}}
	s := newCursors(0)
	s.assign(parts)
	s.leads("t", &led{parts: []leader{{1, 5}, {1, 5}, {1, 5}}})
	for _, p := range parts {
		s.begin(p, known, 0, 0, -1)
	}
	s.resume(parts)
	var got []int32
	for range 6 {
		j := s.next(first)
		got = append(got, j.items[0].part.Num)
		s.done(&j, []*answer{empty(0), empty(0), empty(0)})
	}
	if want := []int32{0, 1, 2, 0, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("the first of each request are %v, want %v", got, want)
	}
}
