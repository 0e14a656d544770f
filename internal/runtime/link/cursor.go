// SPDX-License-Identifier: Apache-2.0

package link

import (
	"fmt"
	"slices"
)

// origin says what is known of where a cursor begins.
type origin uint8

const (
	unknown origin = iota // the group has not told yet
	atStart               // of the log, which is to be asked for
	atEnd                 // of what may be read, which is to be asked for
	atTime                // the first record that is as late; the end is to be asked for first
	byTime                // the same, when the end is known
	known
)

// A cursor is where one partition of the member is fetched.
//
//	assigned -> unknown -> begin -> listed, perhaps -> known -> checked, perhaps -> fetched, again and again
//
// All but the first needs a leader. Only fetching needs the partition to flow.
type cursor struct {
	part   Partition
	term   uint64 // what was asked for in another does not count
	paused bool
	failed bool // nothing more comes of it
	sought bool // it was committed or polled: Seek may move it
	moved  bool // something of it was fetched

	from   origin
	milli  int64 // of atTime
	end    int64 // of byTime
	offset int64 // to be fetched next
	epoch  int32 // leader epoch of what is before it, -1 if unknown
	check  bool  // whether the leader has what is before it is to be asked (KIP-320)

	id     [16]byte
	pinned bool // something of id was fetched: a topic of another id is another
	led    *led
	at     leader
	lost   bool // the leader is to be asked for
	tries  int  // failures since something went well

	busy   bool // in a request that is under way
	rounds int  // on the second lane that brought nothing
	queued bool // in ready
	ahead  *ahead
}

// ahead is what was fetched and not polled yet.
type ahead struct {
	Batch
	memory int64
	from   int64 // where it was fetched
	epoch  int32 // the cursor's, then
	way    way
}

// A way is where requests go one after the other: to a broker, by a first or a second
// connection.
type way struct {
	node   int32
	second bool
}

// cursors are those of a member: a core, which others tell what happens, and that says
// what is to be done. It does no I/O and has no lock.
type cursors struct {
	parts map[Partition]*cursor
	order []*cursor // in which they take part in requests, from turn on
	turn  int
	ready []*cursor // that have something ahead, in the order it came, and others
	terms uint64
	keep  int64 // bound of kept, 0 for none
	kept  int64 // memory of what paused cursors have ahead
	errs  []error

	flying  map[way]bool // a fetch is under way
	asking  map[string]bool
	touched map[int32]struct{} // nodes that may have something to do now
}

func newCursors(keep int64) *cursors {
	return &cursors{
		parts: map[Partition]*cursor{}, keep: keep,
		flying: map[way]bool{}, asking: map[string]bool{}, touched: map[int32]struct{}{},
	}
}

// assign adds partitions, paused.
func (s *cursors) assign(parts []Partition) {
	s.drop(parts)
	for _, p := range parts {
		c := &cursor{part: p, paused: true, lost: true, offset: -1, epoch: -1, at: leader{-1, -1}}
		s.renew(c)
		s.parts[p] = c
		s.order = append(s.order, c)
	}
}

// drop forgets partitions.
func (s *cursors) drop(parts []Partition) {
	for _, p := range parts {
		if c := s.parts[p]; c != nil {
			s.touch(c) // others wait no more for what it has ahead
			s.renew(c)
			delete(s.parts, p)
		}
	}
	s.order = slices.DeleteFunc(s.order, func(c *cursor) bool { return s.parts[c.part] != c })
}

// renew makes what is under way, and ahead, count no more.
func (s *cursors) renew(c *cursor) {
	s.terms++
	c.term, c.busy, c.rounds = s.terms, false, 0
	if c.ahead != nil && c.paused {
		s.kept -= c.ahead.memory
	}
	c.ahead = nil
}

// begin says where a partition begins: at an offset that was committed, with the leader
// epoch of what is before it, or at what is to be asked for.
func (s *cursors) begin(p Partition, from origin, at, milli int64, epoch int32) {
	c := s.parts[p]
	if c == nil {
		return
	}
	s.renew(c)
	c.from, c.milli, c.offset, c.epoch = from, milli, at, epoch
	c.sought = from == known
	c.check = from == known && epoch >= 0 && c.at.epoch >= 0
	s.touch(c)
}

func (s *cursors) touch(c *cursor) {
	if c.at.node >= 0 {
		s.touched[c.at.node] = struct{}{}
	}
}

func (s *cursors) pause(parts []Partition) {
	for _, p := range parts {
		c := s.parts[p]
		if c == nil || c.paused {
			continue
		}
		c.paused = true
		if c.ahead != nil {
			s.kept += c.ahead.memory
			if s.keep > 0 && s.kept > s.keep {
				s.back(c)
			}
			s.touch(c) // it keeps the rest waiting no more
		}
	}
}

// back has what is ahead fetched again.
func (s *cursors) back(c *cursor) {
	c.offset, c.epoch = c.ahead.from, c.ahead.epoch
	s.renew(c)
}

func (s *cursors) resume(parts []Partition) {
	for _, p := range parts {
		c := s.parts[p]
		if c == nil || !c.paused {
			continue
		}
		c.paused = false
		c.rounds = 0
		if c.ahead != nil {
			s.kept -= c.ahead.memory
			s.queue(c)
		}
		s.touch(c)
	}
}

func (s *cursors) queue(c *cursor) {
	if !c.queued {
		c.queued = true
		s.ready = append(s.ready, c)
	}
}

// seek moves cursors.
func (s *cursors) seek(to map[Partition]int64) {
	for p, offset := range to {
		c := s.parts[p]
		if c == nil || !c.sought || offset < 0 {
			continue
		}
		s.renew(c)
		c.from, c.offset, c.epoch, c.check = known, offset, -1, false
		s.touch(c)
	}
}

// pollable tells whether take has something to give.
func (s *cursors) pollable() bool {
	return len(s.errs) > 0 || slices.ContainsFunc(s.ready, (*cursor).flows)
}

// flows says that something is ahead and may be polled.
func (c *cursor) flows() bool { return c.ahead != nil && !c.paused }

// take gives what has come.
func (s *cursors) take() ([]Batch, []error) {
	var batches []Batch
	for _, c := range s.ready {
		c.queued = false
		if c.flows() {
			batches = append(batches, c.ahead.Batch)
			c.ahead = nil
			c.sought = true
			s.touch(c)
		}
	}
	clear(s.ready)
	s.ready = s.ready[:0]
	errs := s.errs
	s.errs = nil
	return batches, errs
}

// fail ends a cursor.
func (s *cursors) fail(c *cursor, err error) {
	c.failed = true
	s.errs = append(s.errs, fmt.Errorf("fetch %s: %w", c.part, err))
}

// lose has the leader asked for.
func (c *cursor) lose() {
	c.lost = true
	c.tries++
}

// asks gives the topics of which the leaders are to be asked for from now on.
func (s *cursors) asks() []string {
	var topics []string
	for _, c := range s.order {
		if c.lost && !c.failed && !s.asking[c.part.Topic] {
			s.asking[c.part.Topic] = true
			topics = append(topics, c.part.Topic)
		}
	}
	return topics
}

// wants tells of a topic that asks gave: after how many failures leaders of it are to be
// asked for, and whether what is known of them by now has failed. ok is false if it
// is over.
func (s *cursors) wants(topic string, now *led) (tries int, stale, ok bool) {
	for _, c := range s.order {
		if !c.lost || c.failed || c.part.Topic != topic {
			continue
		}
		if !ok || c.tries < tries {
			tries = c.tries
		}
		stale = stale || now != nil && c.led == now
		ok = true
	}
	if !ok {
		delete(s.asking, topic)
	}
	return tries, stale, ok
}

// leads takes an answer about a topic.
func (s *cursors) leads(topic string, d *led) {
	for _, c := range s.order {
		if c.lost && c.part.Topic == topic {
			s.follow(c, d)
		}
	}
}

func (s *cursors) follow(c *cursor, d *led) {
	at := d.of(c.part.Num)
	c.led = d
	none := [16]byte{}
	another := c.pinned && c.id != none && d.id != none && c.id != d.id
	if another || at.node < 0 || at.epoch >= 0 && at.epoch < c.at.epoch && c.id == d.id {
		c.tries++
		return
	}
	if at.epoch != c.at.epoch && at.epoch >= 0 && c.epoch >= 0 && c.from == known {
		c.check = true
	}
	c.id, c.at, c.lost = d.id, at, false
	s.touch(c)
}

// unled says that a question for leaders has failed: in a way that ends the cursors, or to
// be asked again.
func (s *cursors) unled(topic string, err error, ends bool) {
	for _, c := range s.order {
		switch {
		case !c.lost || c.failed || c.part.Topic != topic:
		case ends:
			s.fail(c, err)
		default:
			c.tries++
		}
	}
}
