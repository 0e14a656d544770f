// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/processor/testdriver"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topic"
)

// What is held back comes out as the model says, through crashes.
func TestSuppressIsAsTheModelThroughCrashes(t *testing.T) {
	for backend, at := range backends() {
		runs, length := 30, 120
		if backend != "memory" { // each crash takes its time
			runs, length = 2, 60
		}
		t.Run(backend, func(t *testing.T) {
			rnd := seeded(t)
			for range runs {
				suppressRun(t, rnd, at, rnd.Int64N(40), rnd.IntN(5), length)
			}
		})
	}
}

func suppressRun(t *testing.T, rnd *rand.Rand, at func(string) state.Backend, limit int64, most, length int) {
	t.Helper()
	top := processor.NewTopology("app")
	ktable.From(top, "st", words).Suppress("held", ktable.UntilTimeLimit(ms(limit)).MaxRecords(most)).
		To(topic.Of[string, string]("out"))
	model := suppressModel{limit: limit, most: most, rows: map[string]*modelRow{}}
	var input []plan.Raw
	now := int64(0)
	for i := range length {
		now += rnd.Int64N(8)
		r := plan.Raw{Key: fmt.Appendf(nil, "k%d", rnd.IntN(6)), Timestamp: max(0, now-rnd.Int64N(20))}
		if rnd.IntN(6) > 0 {
			r.Value = fmt.Appendf(nil, "%d", i)
		}
		input = append(input, r)
		model.process(i, r)
	}
	var got []string
	for _, o := range newLives(t, rnd, at, top, input).run() {
		got = append(got, fmt.Sprintf("%d: %s %s %d", o.step, o.Key, o.Value, o.Timestamp))
	}
	if diff := gocmp.Diff(model.out, got); diff != "" {
		t.Fatalf("limit %d, at most %d rows (-model +got):\n%s", limit, most, diff)
	}
}

// suppressModel is Suppress with a slice.
type suppressModel struct {
	limit int64
	most  int
	now   int64
	rows  map[string]*modelRow
	out   []string
}

type modelRow struct {
	key   string
	since int64
	last  plan.Raw
}

func (m *suppressModel) process(step int, r plan.Raw) {
	m.now = max(m.now, r.Timestamp)
	row := m.rows[string(r.Key)]
	if row == nil {
		row = &modelRow{key: string(r.Key), since: r.Timestamp}
		m.rows[row.key] = row
	}
	row.last = r
	var byTime []*modelRow
	for _, row := range m.rows {
		byTime = append(byTime, row)
	}
	slices.SortFunc(byTime, func(a, b *modelRow) int {
		return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.key, b.key))
	})
	for _, row := range byTime {
		if row.since <= m.now-m.limit || m.most > 0 && len(m.rows) > m.most {
			delete(m.rows, row.key)
			m.out = append(m.out, fmt.Sprintf("%d: %s %s %d", step, row.key, row.last.Value, row.last.Timestamp))
		}
	}
}

// The old value of a change that comes out is what came out before, so that what is
// counted of the rows downstream is right.
func TestSuppressTellsWhatItSentOnBefore(t *testing.T) {
	top := processor.NewTopology("app")
	table := ktable.From(top, "st", words).Suppress("held", ktable.UntilTimeLimit(ms(10))).
		Filter(func(_, v string) bool { return v != "hidden" }, ktable.Store("shown"))
	table.To(topic.Of[string, string]("out"))
	d := testdriver.New(t, top)
	for _, r := range []word{
		{Key: "a", Value: "hidden", Timestamp: 0},
		{Key: "tick", Value: "hidden", Timestamp: 10},
		{Key: "a", Value: "shown", Timestamp: 20},
		{Key: "tick", Value: "hidden", Timestamp: 30},
		{Key: "a", Value: "hidden", Timestamp: 40},
		{Key: "a", Value: "hidden", Timestamp: 45}, // the change before it was hidden, too, but not what came out
		{Key: "tick", Value: "hidden", Timestamp: 50},
	} {
		d.Pipe(words, r)
	}
	var got []string
	for r, ok := d.ReadBytes("out"); ok; r, ok = d.ReadBytes("out") {
		got = append(got, fmt.Sprintf("%s %d", r.Value, r.Timestamp))
	}
	if want := []string{"shown 20", " 45"}; !slices.Equal(got, want) {
		t.Errorf("out came %q, want %q", got, want)
	}
}

func TestAFullSuppressFails(t *testing.T) {
	for name, until := range map[string]ktable.Suppression{
		"rows":  ktable.UntilTimeLimit(ms(1000)).MaxRecords(2).FailWhenFull(),
		"bytes": ktable.UntilTimeLimit(ms(1000)).MaxBytes(30).FailWhenFull(),
	} {
		t.Run(name, func(t *testing.T) {
			top := processor.NewTopology("app")
			ktable.From(top, "st", words).Suppress("held", until).To(topic.Of[string, string]("out"))
			d := testdriver.New(t, top)
			for _, key := range []string{"a", "b", "a", "b"} { // another value takes the place of the first
				if err := d.TryPipe(words, word{Key: key, Value: "vvvvv"}); err != nil {
					t.Fatalf("%s: %v", key, err)
				}
			}
			if err := d.TryPipe(words, word{Key: "c", Value: "vvvvv"}); !errors.Is(err, ktable.ErrBufferFull) {
				t.Errorf("the third row: %v, want ErrBufferFull", err)
			}
		})
	}
}

// A join with a suppressed table meets its rows as they were sent on.
func TestRowsOfASuppressedTableAreThoseSentOn(t *testing.T) {
	top := processor.NewTopology("app")
	counts := kstream.From(top, words).GroupByKey().Count("n").Suppress("held", ktable.UntilTimeLimit(ms(10)))
	seen := func(v string, n opt.V[int64]) string {
		if !n.OK {
			return v + " -"
		}
		return fmt.Sprint(v, " ", n.Value)
	}
	kstream.From(top, lower).LeftJoinTable(counts, seen).To(topic.Of[string, string]("out"))
	d := testdriver.New(t, top)
	var got []string
	for i := range int64(4) {
		d.Pipe(words, word{Key: "a", Value: "x", Timestamp: 6 * i})
		d.Pipe(lower, word{Key: "a", Value: "y", Timestamp: 6 * i})
		for _, r := range d.ReadAll(topic.Of[string, string]("out")) {
			got = append(got, r.Value)
		}
	}
	if want := []string{"y -", "y -", "y 3", "y 3"}; !slices.Equal(got, want) {
		t.Errorf("the stream met %q, want %q", got, want)
	}
}
