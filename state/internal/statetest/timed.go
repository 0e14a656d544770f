// SPDX-License-Identifier: Apache-2.0

package statetest

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/state"
)

// Timed runs what window and session stores must hold to, on the bases of r.
func Timed(t *testing.T, r Rig) {
	for _, retention := range []int64{0, 100_000, 300_000} {
		for name, kind := range timedKinds(retention) {
			t.Run(fmt.Sprintf("%s, retention %d", name, retention), func(t *testing.T) {
				for range r.runs() {
					timedModel(t, r, kind, retention)
				}
			})
		}
	}
}

// A row is where a value lies: of a window Time is the start, of a session the end.
type row struct {
	Key         string
	Time, Start int64
	Seq         uint32
}

// timed is a model of a store whose rows expire.
type timed struct {
	rows     map[row]stamped[string]
	observed int64
	reach    int64
	seq      uint32
	written  [3]int64      // observed, reach, seq as the changelog has them
	marked   int64         // observed as the changelog has it; NoTime: by its rows
	removed  map[row]int64 // timestamps of tombstones of the open layer
	dirty    []row         // of the open layer, in order of first change
}

func newTimed() *timed {
	m := &timed{rows: map[row]stamped[string]{}, removed: map[row]int64{}, observed: state.NoTime, reach: state.NoTime, marked: state.NoTime}
	m.written = m.marks()
	return m
}

func (m *timed) marks() [3]int64 { return [3]int64{m.observed, m.reach, int64(m.seq)} }

// clone is that of a store without an open layer.
func (m *timed) clone() *timed {
	c := *m
	c.rows, c.removed, c.dirty = maps.Clone(m.rows), map[row]int64{}, nil
	return &c
}

func (m *timed) gone(t, retention int64) bool {
	return retention > 0 && m.observed != state.NoTime && t <= m.observed-retention
}

// A timedKind is a kind of store, as far as the tests of all kinds need it.
type timedKind struct {
	open       func(base state.Base, o state.Options) timedStore
	duplicates bool
	segment    int64 // rows lie in order of it first; 0: in order of time
	record     func(r row) []byte
	parse      func(key []byte) row
	session    bool
	brief      bool
}

// A timedStore is a store of strings by string and time.
type timedStore interface {
	state.Timed
	put(r row, v string, ts int64) (bool, error)
	remove(r row, ts int64) (bool, error)
	cell(r row) (*state.Cell[string], error)
	Set(c *state.Cell[string], v string, ts int64) bool
	Unset(c *state.Cell[string], ts int64) bool
	OldOf(c *state.Cell[string]) (string, int64, bool, error)
	eachDirty(fn func(r row, c *state.Cell[string]) error) error
	// scan gives the rows of some keys whose time is from from on, and whose time, of
	// sessions start, is at most to.
	scan(first, last opt.V[string], from, to int64, o state.Order) rowScan
	view(first, last opt.V[string], from, to int64, o state.Order) rowScan
	// list is a forward scan of one key.
	list(key string, from, to int64) ([]state.Row[string], error)
	Refused() int64
}

type rowScan interface {
	Next() bool
	at() row
	Value() string
	Timestamp() int64
	Err() error
	Close() error
}

// timedRun is a store beside its model.
type timedRun struct {
	life[*timed]
	kind      timedKind
	retention int64
	s         timedStore
	wall      int64 // about where times are
	refused   int64
}

func timedModel(t *testing.T, r Rig, kind timedKind, retention int64) {
	s := &timedRun{kind: kind, retention: retention}
	s.rig, s.rnd, s.clone, s.check, s.resume = r, seeded(t), (*timed).clone, s.sealed1, s.resumed
	s.life.open = func(base state.Base, o state.Options) state.Store {
		s.s = kind.open(base, o)
		s.refused = 0
		return s.s
	}
	s.wall = []int64{0, -500_000, 1 << 41}[s.rnd.IntN(3)]
	s.begin(t, newTimed())
	for range r.steps(600) {
		switch op := s.rnd.IntN(100); {
		case op < 52:
			s.write(t)
		case op < 60:
			s.get(t)
		case op < 70:
			s.scans(t)
			s.lists(t)
		case op < 75:
			s.views(t)
		case op < 79:
			s.dirties(t)
		case op < 83:
			s.wall += s.rnd.Int64N(80_000)
			if s.rnd.IntN(2) == 0 {
				s.s.Observe(s.wall)
				s.now.observed = max(s.now.observed, s.wall)
			}
		default:
			s.step(t)
		}
		if got := s.s.ObservedTime(); got != s.now.observed {
			t.Fatalf("observed %d, want %d", got, s.now.observed)
		}
		if got := s.s.Refused(); got != s.refused {
			t.Fatalf("%d refused, want %d", got, s.refused)
		}
	}
	s.finish(t)
}

func (s *timedRun) row() row {
	key := fmt.Sprintf("k%d", s.rnd.IntN(6))
	if s.rnd.IntN(3) == 0 {
		key = randomKey(s.rnd)
	}
	at := s.wall + 10_000*(s.rnd.Int64N(40)-35)
	r := row{Key: key, Time: at}
	if s.kind.session {
		r.Start = at - 5_000*s.rnd.Int64N(3)
	}
	return r
}

func (s *timedRun) write(t *testing.T) {
	t.Helper()
	r, ts := s.row(), s.rnd.Int64N(1e6)
	if n := len(s.now.dirty); n > 0 && s.rnd.IntN(3) == 0 { // what comes and goes in one layer
		r = s.now.dirty[s.rnd.IntN(n)]
		r.Seq = 0
	}
	v := fmt.Sprint(s.rnd.IntN(1000), strings.Repeat("v", s.rnd.IntN(60)))
	remove := s.rnd.IntN(4) == 0
	var ok bool
	var err error
	switch {
	case s.kind.duplicates && remove:
		ok, err = s.s.remove(r, ts)
		must(t, err)
		s.dropAll(t, r, ts, ok)
		return
	case s.kind.duplicates:
		r.Seq = s.now.seq
		ok, err = s.s.put(r, v, ts)
		if ok {
			s.now.seq++
		}
	case s.rnd.IntN(2) == 0:
		var c *state.Cell[string]
		c, err = s.s.cell(r)
		must(t, err)
		s.same(t, r, c)
		if remove {
			ok = s.s.Unset(c, ts)
		} else {
			ok = s.s.Set(c, v, ts)
		}
		if s.now.gone(r.Time, s.retention) { // no time passes where nothing was put
			s.refuse(t, ok)
			return
		}
	case remove:
		ok, err = s.s.remove(r, ts)
	default:
		ok, err = s.s.put(r, v, ts)
	}
	must(t, err)
	s.now.observed = max(s.now.observed, r.Time)
	if s.now.gone(r.Time, s.retention) {
		s.refuse(t, ok)
		return
	}
	if !ok {
		t.Fatalf("%+v was refused at %d", r, s.now.observed)
	}
	s.now.reach = max(s.now.reach, r.Time)
	s.changed(r, v, ts, remove)
}

func (s *timedRun) refuse(t *testing.T, ok bool) {
	t.Helper()
	s.refused++
	if ok {
		t.Fatalf("a row was taken that is gone at %d", s.now.observed)
	}
}

func (s *timedRun) changed(r row, v string, ts int64, remove bool) {
	if !slices.Contains(s.now.dirty, r) {
		s.now.dirty = append(s.now.dirty, r)
	}
	if remove {
		delete(s.now.rows, r)
		s.now.removed[r] = ts
	} else {
		s.now.rows[r] = stamped[string]{v, ts}
	}
}

// dropAll removes the duplicates of r from the model.
func (s *timedRun) dropAll(t *testing.T, r row, ts int64, ok bool) {
	t.Helper()
	if ok == s.now.gone(r.Time, s.retention) {
		t.Fatalf("delete %+v: %v at %d", r, ok, s.now.observed)
	}
	for _, d := range s.sorted(s.now, func(d row) bool { return d.Key == r.Key && d.Time == r.Time }) {
		s.changed(d, "", ts, true)
		s.now.observed = max(s.now.observed, d.Time) // what is ahead of time was never committed
	}
}

func (s *timedRun) same(t *testing.T, r row, c *state.Cell[string]) {
	t.Helper()
	want, has := s.now.rows[r]
	has = has && !s.now.gone(r.Time, s.retention)
	if c.OK != has || (has && want != stamped[string]{c.Value, c.Timestamp}) {
		t.Fatalf("%+v = %q at %d, %v; want %v, %v", r, c.Value, c.Timestamp, c.OK, want, has)
	}
}

func (s *timedRun) get(t *testing.T) {
	t.Helper()
	r := s.row()
	c, err := s.s.cell(r)
	if s.kind.duplicates {
		if err == nil {
			t.Fatal("a store with duplicates gave a cell")
		}
		return
	}
	must(t, err)
	s.same(t, r, c)
}

// sorted gives the rows that show, as they lie in the base.
func (s *timedRun) sorted(m *timed, which func(row) bool) []row {
	var rows []row
	for r := range m.rows {
		if which(r) && !m.gone(r.Time, s.retention) {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, s.compare)
	return rows
}

func (s *timedRun) compare(a, b row) int {
	keys, times := cmpOf(a.Key, b.Key), cmpOf(a.Time, b.Time)
	rest := first(cmpOf(a.Start, b.Start), cmpOf(a.Seq, b.Seq))
	if s.kind.segment == 0 {
		return first(times, keys, rest)
	}
	return first(cmpOf(floorDiv(a.Time, s.kind.segment), floorDiv(b.Time, s.kind.segment)), keys, times, rest)
}

type scanned struct {
	Row row
	V   stamped[string]
}

func (s *timedRun) wanted(m *timed, a scanArgs) []scanned {
	rows := s.sorted(m, func(r row) bool {
		latest := r.Time
		if s.kind.session {
			latest = r.Start
		}
		return (!a.first.OK || r.Key >= a.first.Value) && (!a.last.OK || r.Key <= a.last.Value) && r.Time >= a.from && latest <= a.to
	})
	if a.order == state.Backward {
		slices.Reverse(rows)
	}
	var want []scanned
	for _, r := range rows {
		v := m.rows[r]
		r.Seq = 0 // it is not told
		want = append(want, scanned{r, v})
	}
	return want
}

type scanArgs struct {
	first, last opt.V[string]
	from, to    int64
	order       state.Order
}

func (s *timedRun) args() scanArgs {
	a := scanArgs{from: math.MinInt64, to: math.MaxInt64, order: state.Order(s.rnd.IntN(2) == 0)}
	if s.rnd.IntN(4) > 0 {
		a.from = s.row().Time
	}
	if s.rnd.IntN(4) > 0 {
		a.to = s.row().Time
	}
	switch s.rnd.IntN(4) {
	case 0, 1:
		a.first = opt.Some(s.row().Key)
		a.last = a.first
	case 2:
		if s.rnd.IntN(3) > 0 {
			a.first = opt.Some(s.row().Key)
		}
		if s.rnd.IntN(3) > 0 {
			a.last = opt.Some(s.row().Key)
		}
	}
	return a
}

func (s *timedRun) scans(t *testing.T) {
	t.Helper()
	a := s.args()
	want := s.wanted(s.now, a)
	got := collect(t, s.s.scan(a.first, a.last, a.from, a.to, a.order), func() {
		if s.rnd.IntN(6) == 0 { // what changes meanwhile does not show
			s.write(t)
		}
		if s.rnd.IntN(40) == 0 {
			s.seal(t)
			s.commit(t)
		}
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("scan %+v at %d (-want +got):\n%s", a, s.now.observed, diff)
	}
}

func (s *timedRun) views(t *testing.T) {
	t.Helper()
	a := s.args()
	got := collect(t, s.s.view(a.first, a.last, a.from, a.to, a.order), func() {})
	if diff := cmp.Diff(s.wanted(s.committed, a), got); diff != "" {
		t.Fatalf("committed scan %+v at %d (-want +got):\n%s", a, s.committed.observed, diff)
	}
}

func collect(t *testing.T, sc rowScan, between func()) []scanned {
	t.Helper()
	var got []scanned
	for sc.Next() {
		got = append(got, scanned{sc.at(), stamped[string]{sc.Value(), sc.Timestamp()}})
		between()
	}
	must(t, sc.Err())
	must(t, sc.Close())
	return got
}

func (s *timedRun) dirties(t *testing.T) {
	t.Helper()
	var rows []row
	must(t, s.s.eachDirty(func(r row, c *state.Cell[string]) error {
		want, has := s.now.rows[r]
		if !s.kind.duplicates {
			rows = append(rows, r)
		} else if r = s.now.dirty[len(rows)]; true { // the number is not told
			rows = append(rows, r)
			want, has = s.now.rows[r]
		}
		if c.OK != has || (has && want != stamped[string]{c.Value, c.Timestamp}) {
			t.Fatalf("dirty %+v = %q, %v; want %v, %v", r, c.Value, c.OK, want, has)
		}
		old, ts, ok, err := s.s.OldOf(c)
		must(t, err)
		was, had := s.before.rows[r]
		if s.before.gone(r.Time, s.retention) {
			return nil // it may be there still, or not
		}
		if ok != had || (ok && was != stamped[string]{old, ts}) {
			t.Fatalf("old value of %+v = %q at %d, %v; want %v, %v", r, old, ts, ok, was, had)
		}
		return nil
	}))
	want := s.now.dirty
	if s.kind.brief { // rows that have come and gone may be left out, and others come in their place
		want = s.sorted(s.now, func(r row) bool { return slices.Contains(s.now.dirty, r) })
		slices.SortFunc(rows, s.compare)
		rows = slices.DeleteFunc(rows, func(r row) bool { return !slices.Contains(want, r) })
	}
	if !slices.Equal(want, rows) {
		t.Fatalf("dirty rows (-want +got):\n%s", cmp.Diff(want, rows))
	}
}

// sealed1 checks that a layer has each changed row that is not gone, then the observed time if there is a new one.
func (s *timedRun) sealed1(t *testing.T, got []state.Change) {
	t.Helper()
	var want []state.Change
	m := s.now
	rows := slices.SortedFunc(slices.Values(m.dirty), s.compare)
	for _, r := range rows {
		if m.gone(r.Time, s.retention) || s.unwritten(r, got) {
			continue
		}
		c := state.Change{Key: s.kind.record(r), Timestamp: m.removed[r]}
		if v, ok := m.rows[r]; ok {
			c.Timestamp, c.Value = v.T, []byte(v.V)
		}
		want = append(want, c)
	}
	want = logged(want)
	if m.written != m.marks() && m.observed != state.NoTime {
		m.written, m.marked = m.marks(), m.observed
		value := binary.BigEndian.AppendUint64(nil, uint64(m.observed))
		value = binary.BigEndian.AppendUint64(value, uint64(m.reach))
		value = binary.BigEndian.AppendUint32(value, m.seq)
		want = append(want, state.Change{Key: []byte("clock"), Value: value, Timestamp: max(m.observed, 0)})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("sealed at %d (-want +got):\n%s", m.observed, diff)
	}
	m.dirty, m.removed = nil, map[row]int64{}
}

// resumed brings the model to what a changelog holds beyond the last commit. What it
// claims of time is believed, or the store is told what was committed.
func (s *timedRun) resumed(t *testing.T, tail []state.Change) {
	t.Helper()
	m := s.now
	for _, c := range tail {
		if string(c.Key) == "clock" {
			m.marked = int64(binary.BigEndian.Uint64(c.Value))
			m.reach = max(m.reach, int64(binary.BigEndian.Uint64(c.Value[8:])))
			m.seq = binary.BigEndian.Uint32(c.Value[16:])
			continue
		}
		r := s.kind.parse(c.Key)
		m.reach = max(m.reach, r.Time)
		if m.marked == state.NoTime {
			m.seq = max(m.seq, r.Seq+1)
		}
		if c.Value == nil {
			delete(m.rows, r)
		} else {
			m.rows[r] = stamped[string]{string(c.Value), c.Timestamp}
		}
	}
	claimed := m.marked
	if claimed == state.NoTime {
		claimed = m.reach
	}
	m.written = [3]int64{claimed, m.reach, int64(m.seq)}
	if s.rnd.IntN(2) == 0 {
		s.s.Resume(m.observed)
	} else {
		m.observed = claimed
	}
}

func cmpOf[T int64 | uint32 | string](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func first(orders ...int) int {
	for _, o := range orders {
		if o != 0 {
			return o
		}
	}
	return 0
}

func floorDiv(t, by int64) int64 {
	n := t / by
	if t%by < 0 {
		n--
	}
	return n
}
