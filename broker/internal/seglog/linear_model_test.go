// SPDX-License-Identifier: Apache-2.0

package seglog_test

import (
	"fmt"
	"maps"
	"slices"

	"github.com/anishathalye/porcupine"
)

// What is done to a log, as its clients see it.
type opKind uint8

const (
	opProduce   opKind = iota
	opFetch            // from an offset on
	opDelete           // records before an offset
	opEarliest         // the log start offset
	opLatest           // the high watermark
	opTimestamp        // the first record that late
	opMaxTimestamp
)

// A question is what a client asks, an outcome what it learns.
type question struct {
	kind   opKind
	at     int64 // an offset, or a timestamp
	id     int64 // of an idempotent producer; -1: of none
	seq    int32
	values []int // of a batch
}

type outcome struct {
	unknown bool // the log crashed before there was an answer
	refused string
	at      int64 // an offset
	values  []int
}

func (q question) String() string {
	names := []string{"produce", "fetch", "delete", "earliest", "latest", "timestamp", "max timestamp"}
	if q.kind == opProduce {
		return fmt.Sprintf("produce %v as %d:%d", q.values, q.id, q.seq)
	}
	return fmt.Sprintf("%s %d", names[q.kind], q.at)
}

func (o outcome) String() string {
	if o.unknown {
		return "?"
	}
	return fmt.Sprintf("%d %v %s", o.at, o.values, o.refused)
}

// Why a log refuses.
const (
	outOfRange = "out of range"
	outOfOrder = "out of order"
	duplicate  = "duplicate, too old"
)

// logState is what a log holds of acknowledged records. It is never changed.
type logState struct {
	start  int64
	values []int                  // by offset; those below start too
	sent   map[int64][]sequencing // the last five batches of each producer, oldest first
}

type sequencing struct {
	first, last int32
	base        int64
}

// timestampOf is a value's: they don't come in order.
func timestampOf(value int) int64 { return int64(value*7%23 + 1) }

// logModel is a log that is one slice: what runs at once must look as if it had
// come one by one, each between its call and its answer, and what had no answer
// has happened or has not, once.
var logModel = porcupine.NondeterministicModel{
	Init: func() []any { return []any{logState{}} },
	Step: func(state, input, output any) []any {
		return state.(logState).step(input.(question), output.(outcome))
	},
	Equal: func(a, b any) bool { return a.(logState).equal(b.(logState)) },
	DescribeOperation: func(in, out any) string {
		return fmt.Sprintf("%v -> %v", in, out)
	},
}

func (s logState) equal(o logState) bool {
	if s.start != o.start || !slices.Equal(s.values, o.values) || len(s.sent) != len(o.sent) {
		return false
	}
	for id, list := range s.sent {
		if !slices.Equal(list, o.sent[id]) {
			return false
		}
	}
	return true
}

// step returns the states that a log may be in after q, if it can answer o; none
// if it can't.
func (s logState) step(q question, o outcome) []any {
	after, right := s.answer(q)
	switch {
	case o.unknown:
		return []any{s, after}
	case q.kind == opFetch && right.refused == "" && o.refused == "":
		if n := len(o.values); n == 0 && len(right.values) > 0 || n > len(right.values) || !slices.Equal(o.values, right.values[:n]) {
			return nil
		}
		return []any{s} // as much as the log liked to give
	case o.refused != right.refused || o.refused == "" && (o.at != right.at || !slices.Equal(o.values, right.values)):
		return nil
	}
	return []any{after}
}

// answer is the state after q, and the right answer to it.
func (s logState) answer(q question) (logState, outcome) {
	end := int64(len(s.values))
	switch q.kind {
	case opProduce:
		return s.produce(q)
	case opFetch:
		if q.at < s.start || q.at > end {
			return s, outcome{refused: outOfRange}
		}
		return s, outcome{values: s.values[q.at:]}
	case opDelete:
		if q.at > end {
			return s, outcome{refused: outOfRange}
		}
		s.start = max(s.start, q.at)
		return s, outcome{at: s.start}
	case opEarliest:
		return s, outcome{at: s.start}
	case opLatest:
		return s, outcome{at: end}
	default:
		return s, outcome{at: s.find(q)}
	}
}

// find looks for a timestamp; -1: there is none.
func (s logState) find(q question) int64 {
	best := int64(-1)
	for i := s.start; i < int64(len(s.values)); i++ {
		ts := timestampOf(s.values[i])
		switch {
		case q.kind == opTimestamp && ts >= q.at:
			return i
		case q.kind == opMaxTimestamp && (best < 0 || ts > timestampOf(s.values[best])):
			best = i
		}
	}
	return best
}

func (s logState) produce(q question) (logState, outcome) {
	first, last := q.seq, q.seq+int32(len(q.values))-1
	list := s.sent[q.id]
	if q.id >= 0 && len(list) > 0 {
		for _, b := range list {
			if b.first == first && b.last == last {
				return s, outcome{at: b.base}
			}
		}
		switch {
		case last < list[0].first:
			return s, outcome{refused: duplicate}
		case first != list[len(list)-1].last+1:
			return s, outcome{refused: outOfOrder}
		}
	}
	base := int64(len(s.values))
	if q.id >= 0 {
		sent := maps.Clone(s.sent)
		if sent == nil {
			sent = map[int64][]sequencing{}
		}
		list = append(slices.Clone(list), sequencing{first, last, base})
		sent[q.id] = list[max(0, len(list)-5):]
		s.sent = sent
	}
	s.values = slices.Concat(s.values, q.values)
	return s, outcome{at: base}
}
