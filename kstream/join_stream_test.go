// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/processor/testdriver"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/window"
)

// A joinModel is a join of two streams as slices and loops, after the notes that came
// with the vectors of Kafka Streams.
type joinModel struct {
	within window.JoinSpec
	kind   string
	kept   [2][]joinRow // of right and left
	seen   [2]int64     // the highest times of kept
	time   int64
	oldest int64
	wait   []joinRow
	out    []string
}

type joinRow struct {
	at         int64
	left       int // 1, else 0
	key, value string
}

func newJoinModel(kind string, within window.JoinSpec) *joinModel {
	return &joinModel{within: within, kind: kind, seen: [2]int64{-1, -1}, time: -1, oldest: math.MaxInt64}
}

func (m *joinModel) emit(step int, key string, left int, v, other string, at int64) {
	if left == 0 {
		v, other = other, v
	}
	m.out = append(m.out, fmt.Sprintf("%d: %s %s+%s %d", step, key, v, other, at))
}

func (m *joinModel) process(step, left int, key, value *string, at int64) {
	before, after := m.within.BeforeMs(), m.within.AfterMs()
	if left == 0 {
		before, after = after, before
	}
	outer := m.kind == "outer" || m.kind == "left" && left == 1
	m.time = max(m.time, at)
	switch {
	case value == nil:
		return
	case key == nil && outer:
		m.emit(step, "null", left, *value, "null", at)
		return
	case key == nil:
		return
	}
	r := joinRow{at, left, *key, *value}
	m.kept[left] = append(m.kept[left], r)
	m.seen[left] = max(m.seen[left], at)
	if at == m.time && m.kind != "inner" && m.oldest != math.MaxInt64 && m.oldest+after+m.within.GraceMs() < m.time {
		m.due(step)
	}
	from := max(0, at-before, m.seen[1-left]-m.within.KeepMs()+1)
	to := max(0, at+after)
	var met []joinRow
	for _, o := range m.kept[1-left] {
		if o.key == r.key && o.at >= from && o.at <= to {
			met = append(met, o)
		}
	}
	slices.SortStableFunc(met, func(a, b joinRow) int { return cmp.Compare(a.at, b.at) })
	for _, o := range met {
		m.wait = slices.DeleteFunc(m.wait, func(w joinRow) bool { return w.at == o.at && w.left == o.left && w.key == o.key })
		m.emit(step, r.key, left, r.value, o.value, max(at, o.at))
	}
	switch {
	case !outer || len(met) > 0:
	case to < m.time:
		m.emit(step, r.key, left, r.value, "null", at)
	default:
		m.oldest = min(m.oldest, at)
		m.wait = append(m.wait, r)
	}
}

func (m *joinModel) due(step int) {
	slices.SortStableFunc(m.wait, func(a, b joinRow) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.left, b.left), strings.Compare(a.key, b.key))
	})
	m.oldest = math.MaxInt64
	var open [2]bool
	var stay []joinRow
	for i, w := range m.wait {
		m.oldest = w.at
		if open[0] && open[1] {
			stay = append(stay, m.wait[i:]...)
			break
		}
		after := m.within.AfterMs()
		if w.left == 0 {
			after = m.within.BeforeMs()
		}
		if w.at+after+m.within.GraceMs() >= m.time {
			open[w.left] = true
			stay = append(stay, w)
			continue
		}
		m.emit(step, w.key, w.left, w.value, "null", w.at)
	}
	m.wait = stay
}

// joinTopology joins the two halves of topic in: values that begin with L, and others.
func joinTopology(kind string, w window.JoinSpec) *processor.Topology {
	t := processor.NewTopology("model")
	l, r := kstream.From(t, in()).Branch(func(_, v text) bool { return strings.HasPrefix(v.Value, "L") })
	switch kind {
	case "inner":
		l.Join("j", r, w, both).To(out)
	case "left":
		l.LeftJoin("j", r, w, bothLeft).To(out)
	default:
		l.OuterJoin("j", r, w, bothOuter).To(out)
	}
	return t
}

func TestJoinsAreThoseOfTheModelThroughCrashes(t *testing.T) {
	for name, at := range backends() {
		runs, length := 20, 200
		if name != "memory" { // each crash takes its time
			runs, length = 2, 80
		}
		for _, kind := range []string{"inner", "left", "outer"} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				rnd := seeded(t)
				for range runs {
					compareJoin(t, rnd, at, kind, length)
				}
			})
		}
	}
}

func compareJoin(t *testing.T, rnd *rand.Rand, at func(dir string) state.Backend, kind string, length int) {
	t.Helper()
	w := within(rnd.Int64N(12), rnd.Int64N(12), []int64{0, 5, 30}[rnd.IntN(3)])
	model := newJoinModel(kind, w)
	var input []plan.Raw
	now := int64(0)
	for i := range length {
		now += rnd.Int64N(5)
		r := plan.Raw{Timestamp: max(0, now-[]int64{0, 0, 0, rnd.Int64N(8), rnd.Int64N(60)}[rnd.IntN(5)])}
		left := rnd.IntN(2)
		key, value := string(rune('a'+rnd.IntN(3))), fmt.Sprintf("%c%d", "RL"[left], i)
		k, v := &key, &value
		switch rnd.IntN(20) {
		case 0:
			k = nil
		case 1:
			v, left = nil, 0 // a null is no L
		}
		if k != nil {
			r.Key = []byte(key)
		}
		if v != nil {
			r.Value = []byte(value)
		}
		input = append(input, r)
		model.process(i, left, k, v, r.Timestamp)
	}
	var got []string
	for _, o := range newLives(t, rnd, at, joinTopology(kind, w), input).run() {
		key := "null"
		if o.Key != nil {
			key = string(o.Key)
		}
		got = append(got, fmt.Sprintf("%d: %s %s %d", o.step, key, o.Value, o.Timestamp))
	}
	if diff := gocmp.Diff(model.out, got); diff != "" {
		t.Fatalf("%s join, %+v (-model +got):\n%s", kind, w, diff)
	}
}

// A joiner that fails loses one result, and the record is joined with the others.
func TestAJoinerThatFailsLosesOneResult(t *testing.T) {
	top := processor.NewTopology("app")
	stream(top, "l").TryJoin("j", stream(top, "r"), within(10, 10, 0), func(x, y text) (text, error) {
		if y.Value == "bad" {
			return text{}, fmt.Errorf("no match for bad")
		}
		return both(x, y), nil
	}).OnError(processor.Skip()).To(out)
	d := testdriver.New(t, top)
	for _, v := range []string{"r1", "bad", "r2"} {
		pipeText(t, d, "r", v)
	}
	pipeText(t, d, "l", "l")
	var got []string
	for _, r := range d.ReadAll(out) {
		got = append(got, r.Value.Value)
	}
	if want := []string{"l+r1", "l+r2"}; !slices.Equal(got, want) {
		t.Errorf("results are %q, want %q", got, want)
	}
}

// What panics when nothing was met is not tried at each look that follows.
func TestAJoinerThatPanicsDoesNotHoldTheOthersUp(t *testing.T) {
	top := processor.NewTopology("app")
	stream(top, "l").LeftJoin("j", stream(top, "r"), within(10, 10, 0), func(x text, y opt.V[text]) text {
		if x.Value == "bad" {
			panic("no match for bad")
		}
		return bothLeft(x, y)
	}).OnError(processor.Skip()).To(out)
	d := testdriver.New(t, top)
	for _, v := range []string{"l1", "bad", "l2"} {
		pipeText(t, d, "l", v)
	}
	for at := range int64(3) {
		if err := d.PipeBytes("r", processor.Record[[]byte, []byte]{Key: []byte("x"), Value: []byte("r"), Timestamp: 100 + at}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, r := range d.ReadAll(out) {
		got = append(got, r.Value.Value)
	}
	if want := []string{"l1+null", "l2+null"}; !slices.Equal(got, want) {
		t.Errorf("results are %q, want %q", got, want)
	}
	if n := d.Dropped()["failed: process"]; n != 1 {
		t.Errorf("%d failures, want 1", n)
	}
}

// A rule of no time at all joins records of the same millisecond, as long as neither stream
// has gone on.
func TestRecordsOfTheSameMillisecondMeet(t *testing.T) {
	for kind, want := range map[string][]string{
		"inner": {"L10+R10 10", "L10+R10b 10", "L20+R20 20", "L31+R31 31"},
		"left":  {"L10+R10 10", "L10+R10b 10", "L20+R20 20", "L19+null 19", "L10late+null 10", "L30+null 30", "L31+R31 31"},
		"outer": {
			"L10+R10 10", "L10+R10b 10", "L20+R20 20", "null+R19 19", "L19+null 19", "L10late+null 10",
			"L30+null 30", "null+R30 30", "L31+R31 31",
		},
	} {
		t.Run(kind, func(t *testing.T) {
			d := testdriver.New(t, joinTopology(kind, within(0, 0, 0)))
			for _, v := range []string{"L10", "R10", "R10b", "R20", "L20", "R19", "L19", "L10late", "L30", "L31", "R30", "R31", "L50"} {
				at, err := strconv.ParseInt(v[1:3], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				if err := d.PipeBytes("in", processor.Record[[]byte, []byte]{Key: []byte("k"), Value: []byte(v), Timestamp: at}); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			for _, r := range d.ReadAll(out) {
				got = append(got, fmt.Sprintf("%s %d", r.Value.Value, r.Timestamp))
			}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("results (-want +got):\n%s", diff)
			}
		})
	}
}

// With Config.EmitInterval what can meet nothing is looked for once in so much time.
func TestAJoinLooksOnceInAnInterval(t *testing.T) {
	d := testdriver.New(t, joinTopology("left", within(10, 10, 0)), processor.Config{EmitInterval: 100 * time.Millisecond})
	pipe := func(at int64) []string {
		v := fmt.Sprintf("L%d", at)
		if err := d.PipeBytes("in", processor.Record[[]byte, []byte]{Key: []byte("k"), Value: []byte(v), Timestamp: at}); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range d.ReadAll(out) {
			got = append(got, r.Value.Value)
		}
		return got
	}
	pipe(0)
	for _, step := range []struct {
		at   int64
		wait time.Duration
		want []string
	}{
		{100, 0, []string{"L0+null"}}, // the first look
		{200, 0, nil},
		{300, 99 * time.Millisecond, nil},
		{400, time.Millisecond, []string{"L100+null", "L200+null", "L300+null"}},
	} {
		d.AdvanceWallClock(step.wait)
		if diff := gocmp.Diff(step.want, pipe(step.at)); diff != "" {
			t.Errorf("at %d (-want +got):\n%s", step.at, diff)
		}
	}
}

func pipeText(t *testing.T, d *testdriver.Driver, to, v string) {
	t.Helper()
	if err := d.PipeBytes(to, processor.Record[[]byte, []byte]{Key: []byte("k"), Value: []byte(v), Timestamp: 5}); err != nil {
		t.Fatal(err)
	}
}

func TestAJoinTellsWhatIsWrongWithIt(t *testing.T) {
	top := processor.NewTopology("app")
	stream(top, "l").Join("j", stream(top, "r"), within(-5, 4, 0), both).To(out)
	if err := top.Check(); err == nil || !strings.Contains(err.Error(), "leave no time between them") {
		t.Errorf("Check: %v", err)
	}
}

// BenchmarkStreamJoin joins records that come in turn on two sides, each with one of the
// other's.
func BenchmarkStreamJoin(b *testing.B) {
	for name, at := range backends() {
		b.Run("store="+name, func(b *testing.B) {
			stores := at(b.TempDir())
			d := testdriver.New(b, joinTopology("inner", within(1000, 1000, 0)), processor.Config{Stores: stores})
			b.Cleanup(func() { _ = stores.Close() })
			key, values := make([]byte, 8), [2][]byte{[]byte("L"), []byte("R")}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				copy(key, fmt.Sprintf("%08d", i/2%10000))
				if err := d.PipeBytes("in", processor.Record[[]byte, []byte]{Key: key, Value: values[i%2], Timestamp: int64(i / 2)}); err != nil {
					b.Fatal(err)
				}
				if i%20000 == 0 {
					d.Commit()
				}
			}
		})
	}
}
