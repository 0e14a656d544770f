// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/millrace/millrace/state/internal/keyenc"
)

// NoTime is the observed time of a store that has seen none.
const NoTime int64 = math.MinInt64

// A Timed store knows the highest time that it has seen, and rows in it expire.
type Timed interface {
	Store
	// ObservedTime is the highest time that the store has seen: that of Observe and
	// that of each row that was put. [NoTime] if there was none.
	ObservedTime() int64
	// Observe says that time has come to t, ms since the Unix epoch. Rows whose time
	// is not after ObservedTime - retention are gone from then on. Less than
	// the observed time does nothing.
	Observe(t int64)
	// Resume sets the observed time to that of the last commit, after Restored and
	// before any use. A changelog that is not written in transactions may end with
	// records that were never committed, and what they say of time is too high:
	// records that are processed again would find their rows gone. Without a call
	// the changelog is believed.
	Resume(observed int64)
}

// marks are what a store of rows with times remembers beside them.
type marks struct {
	observed int64  // NoTime at first
	reach    int64  // no row is after it; NoTime if there never was one
	seq      uint32 // of the next row where many have the same key and start
}

// restored takes into account that a row of time t with number seq was restored.
func (m *marks) restored(t int64, seq uint32) {
	m.reach, m.seq = max(m.reach, t), max(m.seq, seq+1)
}

const marksLen = 8 + 8 + 4

var noMarks = marks{observed: NoTime, reach: NoTime}

// append appends what a base holds under marksKey: the timestamp of its record, and m.
func (m marks) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.stamp()))
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.observed))
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.reach))
	return binary.BigEndian.AppendUint32(dst, m.seq)
}

// parseMarks reads what append has written.
func parseMarks(body []byte) (marks, error) {
	if len(body) != stampLen+marksLen {
		return noMarks, fmt.Errorf("observed time of %d bytes: %w", len(body), ErrDamaged)
	}
	b := body[stampLen:]
	return marks{
		observed: int64(binary.BigEndian.Uint64(b)),
		reach:    int64(binary.BigEndian.Uint64(b[8:])),
		seq:      binary.BigEndian.Uint32(b[16:]),
	}, nil
}

// believed gives marks whose observed time is told by rows if by nothing else: those
// of a changelog that Kafka Streams wrote.
func (m marks) believed() marks {
	if m.observed == NoTime {
		m.observed = m.reach
	}
	return m
}

// stamp is the timestamp of the record that holds m: near the newest row, so that
// retention in the changelog does not take it before the rows.
func (m marks) stamp() int64 { return max(m.observed, 0) }

var (
	// marksKey is before the keys of all rows in a base: they are longer.
	marksKey = []byte{0}
	firstRow = []byte{0, 0}
	// marksRecord is the key in the changelog: shorter than those of rows.
	marksRecord = []byte("clock")
)

// A rowLayout is the layout of a store whose rows have a time.
type rowLayout interface {
	layout
	// Time reads the time of a row from its key in the base.
	Time(key []byte) int64
	// Head appends what the keys of rows of a time begin with.
	Head(dst []byte, t int64) []byte
	// Seq reads the number of a row among those of the same key and time, 0 if there
	// is only one.
	Seq(key []byte) uint32
	// Rest reads what rows of the same key and time differ by, and are in order of.
	Rest(key []byte) int64
	// Key is the part of a row's key that is the same for all rows of a key.
	Key(key []byte) []byte
	// Least is the length of the shortest key.
	Least() int
}

// A clock makes the rows of a store expire.
type clock struct {
	rows      rowLayout
	retention int64 // ms; 0 is for ever
	segment   int64 // ms: rows are removed from the base by segments

	known     bool // now has been read
	now       marks
	sealed    marks // as of the last Seal
	committed marks // as of the last Commit
	written   marks // as the committed part of the changelog has them
	floor     int64 // of now: rows at or before it are gone
	refused   int64 // changes of rows that were gone
	err       error // of a read that could not be told at once

	restored marks // of the rows seen during a restore
}

func newClock(rows rowLayout, retention, segment int64) *clock {
	return &clock{rows: rows, retention: retention, segment: segment, now: noMarks, floor: NoTime, restored: noMarks}
}

// floorOf gives the time up to which rows are gone.
func (k *clock) floorOf(observed int64) int64 {
	if k.retention <= 0 || observed < NoTime+k.retention {
		return NoTime
	}
	return observed - k.retention
}

// set makes m the present marks.
func (k *clock) set(m marks) {
	k.now = m
	k.floor = k.floorOf(m.observed)
}

func (k *clock) observe(t int64) {
	if t > k.now.observed {
		k.now.observed = t
		k.floor = k.floorOf(t)
	}
}

// put tells of a change of a row of time t, and whether it may be made.
func (k *clock) put(t int64) bool {
	k.observe(t)
	if t <= k.floor {
		k.refused++
		return false
	}
	k.now.reach = max(k.now.reach, t)
	return true
}

// keep gives the key before which all rows are gone: the begin of a segment. Nil
// if all stay.
func (k *clock) keep(observed int64) []byte {
	floor := k.floorOf(observed)
	if floor == NoTime {
		return nil
	}
	return k.rows.Head(nil, keyenc.SegmentOf(floor+1, k.segment)*k.segment)
}

// ready makes the clock know what time it is.
func (s *core[V]) ready() error {
	if s.clock.known && s.clock.err == nil {
		return nil
	}
	return s.wake()
}

func (s *core[V]) wake() error {
	k := s.clock
	if s.fold != nil {
		return s.failed(ErrRestoring)
	}
	m, err := s.readMarks(s.layers)
	if err != nil {
		return s.failed(err)
	}
	m = m.believed()
	early := k.now.observed // Observe came, and the read failed
	k.sealed, k.committed, k.written = m, m, m
	k.set(m)
	k.observe(early)
	k.known, k.err = true, nil
	if s.shelf != nil {
		s.shelf.forget(m.reach)
	}
	return nil
}

// readMarks reads the marks as of the newest of layers.
func (s *core[V]) readMarks(layers []*Layer) (marks, error) {
	body, ok, err := lookup(nil, layers, s.base, s.hash(marksKey), marksKey)
	if err != nil || !ok {
		return noMarks, err
	}
	return parseMarks(body)
}

// A timedCore is what stores whose rows have a time share.
type timedCore[V any] struct {
	life[V]
	void Cell[V] // stands for a row that is gone
}

func (s *timedCore[V]) begin(name string, values valuesOf[V], base Base, opt Options, k *clock) {
	s.c.begin(name, values, base, opt)
	s.c.clock, s.c.layout = k, k.rows
}

// ObservedTime implements [Timed].
func (s *timedCore[V]) ObservedTime() int64 {
	s.c.clock.err = s.c.ready()
	return s.c.clock.now.observed
}

// Observe implements [Timed].
func (s *timedCore[V]) Observe(t int64) {
	s.c.clock.err = s.c.ready()
	s.c.clock.observe(t)
}

// Resume implements [Timed].
func (s *timedCore[V]) Resume(observed int64) {
	k := s.c.clock
	if k.err = s.c.ready(); k.err != nil || observed == k.now.observed {
		return
	}
	m := k.now
	m.observed = observed
	k.set(m)
	k.committed = m // the next Seal writes it
	if s.c.shelf != nil {
		s.c.shelf.forget(m.reach) // rows that were gone may be back
	}
	s.c.told = &m
	s.c.publish()
}

// Refused is how many changes of rows were refused since the store was opened,
// because they were gone.
func (s *timedCore[V]) Refused() int64 { return s.c.clock.refused }

// Set puts v into the row of c, which Cell gave. A v that is the null of its type
// removes it. False if the row is gone: nothing is changed, but for the count of
// those refused.
func (s *timedCore[V]) Set(c *Cell[V], v V, timestamp int64) bool {
	if !s.admit(c) {
		return false
	}
	s.c.set(c, v, timestamp)
	return true
}

// Unset removes the row of c, which Cell gave. False if it is gone anyway. The
// changelog gets a tombstone with the timestamp, also if there was no value.
func (s *timedCore[V]) Unset(c *Cell[V], timestamp int64) bool {
	if !s.admit(c) {
		return false
	}
	s.c.unset(c, timestamp)
	return true
}

func (s *timedCore[V]) admit(c *Cell[V]) bool {
	if c == &s.void {
		s.c.clock.refused++
		return false
	}
	return s.c.clock.put(s.c.clock.rows.Time(s.c.young.key(s.c.young.at(c.index))))
}

// OldOf reads what the row of c held when the open layer began: after the last
// Seal. For a row that is not changed that is c itself. c stays valid.
func (s *timedCore[V]) OldOf(c *Cell[V]) (v V, timestamp int64, ok bool, err error) {
	return s.c.oldOf(c)
}

// rowCell finds the cell of keyBuf, of time t, or an empty one that takes nothing if
// that is gone.
func (s *timedCore[V]) rowCell(t int64) (*Cell[V], error) {
	if t <= s.c.clock.floor {
		s.void = Cell[V]{}
		return &s.void, nil
	}
	s.c.index()
	return s.c.cell()
}

// putRow sets the row of keyBuf, of time t, without reading it; it removes it if
// v is none.
func (s *timedCore[V]) putRow(t int64, v V, ok bool, timestamp int64) (bool, error) {
	if !s.c.clock.put(t) {
		return false, nil
	}
	if s.c.shelf != nil {
		return true, s.c.setRow(v, ok, timestamp)
	}
	c, err := s.c.blindCell()
	if err != nil {
		return false, err
	}
	if ok {
		s.c.set(c, v, timestamp)
	} else {
		s.c.unset(c, timestamp)
	}
	return true, nil
}

// live bounds times by those that rows can have. False if there is none.
func (k *clock) live(from, to int64) (lo, hi int64, ok bool) {
	if k.floor != NoTime {
		from = max(from, k.floor+1)
	}
	to = min(to, k.now.reach)
	return from, to, k.now.reach != NoTime && from <= to
}

// maxSegments bounds over how many segments a look for one key is spread.
const maxSegments = 8

// segments lists the segments of times from lo to hi; false if they are many.
func (k *clock) segments(lo, hi int64) ([]int64, bool) {
	first, last := keyenc.SegmentOf(lo, k.segment), keyenc.SegmentOf(hi, k.segment)
	if uint64(last-first) >= maxSegments {
		return nil, false
	}
	var list []int64
	for n := first; n <= last; n++ {
		list = append(list, n)
	}
	return list, true
}

// gone tells whether the row under key, which is in a base or a layer, does not
// show with that floor.
func (k *clock) gone(key []byte, floor int64) bool { return goneRow(k.rows, key, floor) }

func goneRow(rows rowLayout, key []byte, floor int64) bool {
	return !bytes.Equal(key, marksKey) && (len(key) < rows.Least() || rows.Time(key) <= floor)
}
