// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/agg"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/processor/testdriver"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/state/pebble"
	"github.com/millrace/millrace/state/rocksdb"
	"github.com/millrace/millrace/topic"
	"github.com/millrace/millrace/window"
)

var (
	letters  = topic.Of[string, string]("letters")
	counted3 = topic.Of[window.CountKey[string], string]("windows").Keys(window.CountKeys(serde.String))
)

type letterWindows = *kstream.CountWindowed[string, string]

type letterTable = *ktable.KTable[window.CountKey[string], string]

// concatenations are aggregations that all join the letters of a window, in their order.
var concatenations = map[string]func(w letterWindows) letterTable{
	"reduce": func(w letterWindows) letterTable {
		return w.Reduce("st", func(a, b string) string { return a + b })
	},
	"aggregate": func(w letterWindows) letterTable {
		return w.Aggregate("st", agg.Of(func() string { return "" }, func(a, v string) string { return a + v }))
	},
	"merging aggregate": func(w letterWindows) letterTable {
		join := func(a, b string) string { return a + b }
		return w.Aggregate("st", agg.Of(func() string { return "" }, join).Merge(join))
	},
	"fold": func(w letterWindows) letterTable {
		return w.Fold("st", func(a opt.V[string], v string) opt.V[string] { return opt.Some(a.Value + v) })
	},
}

// letterTopology leaves out the letter "-", which moves time all the same.
func letterTopology(spec window.CountSpec, emit window.EmitMode, build func(w letterWindows) letterTable) *processor.Topology {
	t := processor.NewTopology("app")
	s := kstream.From(t, letters).Filter(func(_, v string) bool { return v != "-" })
	build(s.GroupByKey().CountWindows(spec).Emit(emit)).To(counted3)
	return t
}

// A countModel is what count windows are, told as simply as can be.
type countModel struct {
	size, every, orAfter int64
	emit                 window.EmitMode
	now                  int64
	keys                 map[string]*modelKey
	out                  map[string][]string // by key
}

type modelKey struct {
	count, begun int64
	open         []*modelWindow
	youngest     int64 // its start
}

type modelWindow struct {
	index, start, n, ts int64
	text                string
}

func (m *countModel) send(step int, key string, w *modelWindow) {
	m.out[key] = append(m.out[key], fmt.Sprintf("%d: %d@%d %s %d", step, w.index, w.start, w.text, w.ts))
}

func (m *countModel) process(step int, key, v string, ts int64) {
	m.now = max(m.now, ts)
	for name, k := range m.keys {
		for m.orAfter > 0 && len(k.open) > 0 && k.open[0].start+m.orAfter <= m.now {
			if m.emit != window.OnUpdate {
				m.send(step, name, k.open[0])
			}
			k.open = k.open[1:]
		}
		if m.orAfter > 0 && k.youngest+m.orAfter <= m.now {
			delete(m.keys, name)
		}
	}
	if v == "-" {
		return
	}
	k := m.keys[key]
	if k == nil {
		k = &modelKey{}
		m.keys[key] = k
	}
	if k.count%m.every == 0 {
		k.open = append(k.open, &modelWindow{index: k.begun, start: m.now})
		k.begun++
		k.youngest = m.now
	}
	k.count++
	for _, w := range k.open {
		w.n++
		w.text += v
		w.ts = max(w.ts, ts)
		if m.emit == window.OnUpdate {
			m.send(step, key, w)
		}
	}
	if k.open[0].n == m.size {
		if m.emit != window.OnUpdate {
			m.send(step, key, k.open[0])
		}
		k.open = k.open[1:]
	}
}

func backends() map[string]func(dir string) state.Backend {
	all := map[string]func(dir string) state.Backend{
		"memory": func(string) state.Backend { return state.Memory() },
		"pebble": func(dir string) state.Backend {
			return pebble.At(dir, pebble.BlockCache(1<<20), pebble.WriteBuffer(1<<20))
		},
	}
	if rocksdb.Built {
		all["rocksdb"] = func(dir string) state.Backend {
			return rocksdb.At(dir, rocksdb.BlockCache(1<<20), rocksdb.WriteBuffers(1<<20))
		}
	}
	return all
}

func TestCountWindowsAreThoseOfTheModelThroughCrashes(t *testing.T) {
	for backend, at := range backends() {
		runs, length := 20, 150
		if backend != "memory" { // each crash takes its time
			runs, length = 2, 80
		}
		if os.Getenv("MILLRACE_LONG") != "" {
			runs, length = 20*runs, 2*length
		}
		for name, build := range concatenations {
			t.Run(backend+"/"+name, func(t *testing.T) {
				rnd := seeded(t)
				for range runs {
					countRun(t, rnd, at, build, length)
				}
			})
		}
	}
}

func countRun(t *testing.T, rnd *rand.Rand, at func(string) state.Backend, build func(letterWindows) letterTable, length int) {
	t.Helper()
	n := 1 + rnd.IntN(9)
	spec := window.Count(n).Every(1 + rnd.IntN(n))
	if rnd.IntN(4) > 0 {
		spec = spec.OrAfter(ms(1 + rnd.Int64N(60)))
	}
	emit := []window.EmitMode{window.OnUpdate, window.OnClose, window.OnClose}[rnd.IntN(3)]
	model := countModel{
		size: spec.Size(), every: spec.Step(), orAfter: spec.OrAfterMs(), emit: emit,
		keys: map[string]*modelKey{}, out: map[string][]string{},
	}
	var input []plan.Raw
	time := rnd.Int64N(50)
	for i := range length {
		time += rnd.Int64N(8)
		if rnd.IntN(30) == 0 {
			time += rnd.Int64N(200)
		}
		r := plan.Raw{Key: []byte{byte('x' + rnd.IntN(3))}, Value: []byte{byte('a' + rnd.IntN(26))}, Timestamp: max(0, time-rnd.Int64N(30))}
		if rnd.IntN(10) == 0 {
			r.Value = []byte("-")
		}
		input = append(input, r)
		model.process(i, string(r.Key), string(r.Value), r.Timestamp)
	}
	l := newLives(t, rnd, at, letterTopology(spec, emit, build), input)
	got := map[string][]string{}
	for _, o := range l.run() {
		k, err := window.CountKeys(serde.String).Decode(o.Key)
		if err != nil {
			t.Fatal(err)
		}
		got[k.Key] = append(got[k.Key], fmt.Sprintf("%d: %d@%d %s %d", o.step, k.Index, k.Start, o.Value, o.Timestamp))
	}
	if diff := cmp.Diff(model.out, got); diff != "" {
		t.Fatalf("%v, emission %d (-model +got):\n%s", spec, emit, diff)
	}
}

func sendLetters(d *testdriver.Driver, at int64, key, text string) {
	for c := range strings.SplitSeq(text, "") {
		d.Pipe(letters, processor.Record[string, string]{Key: key, Value: c, Timestamp: at})
	}
}

func readWindows(d *testdriver.Driver) []string {
	var out []string
	for _, r := range d.ReadAll(counted3) {
		out = append(out, fmt.Sprintf("%s%d %s", r.Key.Key, r.Key.Index, r.Value))
	}
	return out
}

func TestCountWindowRules(t *testing.T) {
	for _, tt := range []struct {
		name string
		spec window.CountSpec
		feed func(d *testdriver.Driver)
		want []string
	}{
		{"a window of three records", window.Count(3), func(d *testdriver.Driver) {
			sendLetters(d, 1, "k", "abcdefg")
		}, []string{"k0 abc", "k1 def"}},
		{"a result every two records over the last four", window.Count(4).Every(2), func(d *testdriver.Driver) {
			sendLetters(d, 1, "k", "abcdefgh")
		}, []string{"k0 abcd", "k1 cdef", "k2 efgh"}},
		{"a step that does not divide the size", window.Count(5).Every(3), func(d *testdriver.Driver) {
			sendLetters(d, 1, "k", "abcdefghijk")
		}, []string{"k0 abcde", "k1 defgh", "k2 ghijk"}},
		{"keys have windows of their own", window.Count(2), func(d *testdriver.Driver) {
			sendLetters(d, 1, "k", "a")
			sendLetters(d, 1, "l", "bc")
			sendLetters(d, 1, "k", "d")
		}, []string{"l0 bc", "k0 ad"}},
		{"time completes a window, with the record of another key", window.Count(3).OrAfter(ms(10)), func(d *testdriver.Driver) {
			sendLetters(d, 5, "k", "ab")
			sendLetters(d, 14, "l", "c")
			sendLetters(d, 15, "l", "d")
			sendLetters(d, 15, "k", "e")
			sendLetters(d, 30, "l", "-")
		}, []string{"k0 ab", "l0 cd", "k0 e"}},
		{"the record that brings the time is in the next window", window.Count(3).OrAfter(ms(10)), func(d *testdriver.Driver) {
			sendLetters(d, 5, "k", "ab")
			sendLetters(d, 15, "k", "cde")
		}, []string{"k0 ab", "k0 cde"}},
		{"a record that is late closes nothing and is in the window at hand", window.Count(3).OrAfter(ms(10)), func(d *testdriver.Driver) {
			sendLetters(d, 100, "l", "x")
			sendLetters(d, 5, "k", "a")
			sendLetters(d, 105, "k", "b")
			sendLetters(d, 3, "k", "c")
		}, []string{"k0 abc"}},
		{"each of the windows that overlap has its time", window.Count(4).Every(2).OrAfter(ms(10)), func(d *testdriver.Driver) {
			sendLetters(d, 1, "k", "ab")
			sendLetters(d, 6, "k", "c")
			sendLetters(d, 11, "l", "-") // the first window's
			sendLetters(d, 12, "k", "d")
			sendLetters(d, 16, "l", "-") // the second's
			sendLetters(d, 17, "k", "efgh")
		}, []string{"k0 abc", "k1 cd", "k0 efgh"}},
	} {
		for name, build := range concatenations {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				d := testdriver.New(t, letterTopology(tt.spec, window.OnClose, build))
				tt.feed(d)
				if diff := cmp.Diff(tt.want, readWindows(d)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestCountWindowsOnCommit(t *testing.T) {
	d := testdriver.New(t, letterTopology(window.Count(3).Every(2), window.OnCommit, concatenations["reduce"]))
	sendLetters(d, 1, "k", "ab")
	d.Commit()
	sendLetters(d, 1, "k", "cd")
	d.Commit()
	d.Commit() // nothing has changed
	if diff := cmp.Diff([]string{"k0 ab", "k0 abc", "k1 cd"}, readWindows(d)); diff != "" {
		t.Error(diff)
	}
}

func TestAFailureInACountWindowLeavesItAsItWas(t *testing.T) {
	for name, emit := range map[string]window.EmitMode{"windows": window.OnUpdate, "panes": window.OnClose} {
		t.Run(name, func(t *testing.T) {
			top := letterTopology(window.Count(4).Every(2), emit, func(w letterWindows) letterTable {
				return w.Reduce("st", func(a, b string) string {
					if strings.HasPrefix(b, "!") {
						panic("no")
					}
					return a + b
				})
			})
			d := testdriver.New(t, top, processor.Config{OnProcessError: processor.Skip()})
			sendLetters(d, 1, "k", "abc!def")
			got := readWindows(d)
			want := []string{"k0 abcd", "k1 cdef"}
			for _, w := range want {
				if !slices.Contains(got, w) {
					t.Errorf("got %v, want %v in it", got, want)
				}
			}
		})
	}
}

func TestAWindowWithoutAResultSendsNothing(t *testing.T) {
	d := testdriver.New(t, letterTopology(window.Count(2), window.OnClose, func(w letterWindows) letterTable {
		return w.Fold("st", func(a opt.V[string], v string) opt.V[string] {
			return opt.V[string]{Value: a.Value + v, OK: v != "x"}
		})
	}))
	sendLetters(d, 1, "k", "axbc")
	if diff := cmp.Diff([]string{"k1 bc"}, readWindows(d)); diff != "" {
		t.Error(diff)
	}
}

// A key that is over leaves nothing behind.
func TestCountWindowsForgetKeysWhoseTimeIsOver(t *testing.T) {
	rows := func(spec window.CountSpec) int {
		l := newLives(t, seeded(t), func(string) state.Backend { return state.Memory() },
			letterTopology(spec, window.OnClose, concatenations["reduce"]), []plan.Raw{
				{Key: []byte("k"), Value: []byte("a"), Timestamp: 1},
				{Key: []byte("l"), Value: []byte("b"), Timestamp: 2},
				{Key: []byte("l"), Value: []byte("c"), Timestamp: 3},
				{Key: []byte("l"), Value: []byte("d"), Timestamp: 3},
				{Key: []byte("m"), Value: []byte("-"), Timestamp: 100},
			})
		l.run()
		live := map[string]bool{}
		for _, c := range l.logs["st"] {
			live[string(c.Key)] = c.Value != nil
			if c.Value == nil {
				delete(live, string(c.Key))
			}
		}
		return len(live)
	}
	if n := rows(window.Count(2).OrAfter(ms(50))); n != 0 {
		t.Errorf("%d rows are left, want none", n)
	}
	if n := rows(window.Count(2)); n != 4 { // a head each, and the pieces of k and of l's second window
		t.Errorf("without OrAfter %d rows are left, want 4", n)
	}
}

func TestCountWindowsOfAnotherRuleAreRefused(t *testing.T) {
	run := func(l *lives) { l.run() }
	input := []plan.Raw{{Key: []byte("k"), Value: []byte("a"), Timestamp: 1}}
	at := func(string) state.Backend { return state.Memory() }
	l := newLives(t, seeded(t), at, letterTopology(window.Count(4), window.OnClose, concatenations["reduce"]), input)
	run(l)
	p, err := letterTopology(window.Count(3), window.OnClose, concatenations["reduce"]).Graph().Build()
	if err != nil {
		t.Fatal(err)
	}
	l.plan = p
	l.start()
	defer l.stop()
	err = l.task.Process("letters", []plan.Raw{{Key: []byte("k"), Value: []byte("b"), Timestamp: 2, Offset: 1}})
	for _, want := range []string{`store "st"`, "windows of 4 records", "window.Count(3)", "reset the application"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not tell %q", err, want)
		}
	}
}
