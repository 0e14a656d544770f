// SPDX-License-Identifier: Apache-2.0

package link

import "github.com/millrace/millrace/internal/runtime/link/batch"

// what a job asks for.
type what uint8

const (
	nothing what = iota
	listing      // offsets
	checking
	fetching
)

// A job is a request to be sent.
type job struct {
	what   what
	way    way
	items  []item
	rounds int // the least of the items' rounds
}

// An item is a cursor's part in a job.
type item struct {
	part   Partition
	term   uint64
	id     [16]byte
	leads  int32 // leader epoch
	offset int64
	epoch  int32
	at     int64 // time to be listed: -1 and -2 are end and start
}

// next gives what is to be asked on a way now. The second is for those who would
// have to wait for a fetch on the first.
func (s *cursors) next(w way) job {
	j := job{way: w}
	if w.second && !s.flying[way{node: w.node}] {
		return j
	}
	blocked := false
	var lists, checks, fetches []*cursor
	for i := range s.order {
		c := s.order[(i+s.turn)%len(s.order)]
		switch {
		case c.at.node != w.node:
		case c.ahead != nil:
			blocked = blocked || c.flows() && c.ahead.way == w
		case c.lost || c.busy || c.failed || c.from == unknown:
		case c.from != known:
			lists = append(lists, c)
		case c.check:
			checks = append(checks, c)
		case !c.paused:
			fetches = append(fetches, c)
		}
	}
	var those []*cursor
	switch {
	case len(lists) > 0:
		j.what, those = listing, lists
	case len(checks) > 0:
		j.what, those = checking, checks
	case len(fetches) > 0 && !blocked:
		j.what, those = fetching, fetches
		s.turn = (s.turn + 1) % len(s.order)
		s.flying[w] = true
	}
	for i, c := range those {
		c.busy = true
		if i == 0 || c.rounds < j.rounds {
			j.rounds = c.rounds
		}
		j.items = append(j.items, c.item())
	}
	return j
}

func (c *cursor) item() item {
	it := item{part: c.part, term: c.term, id: c.id, leads: c.at.epoch, offset: c.offset, epoch: c.epoch}
	switch c.from {
	case atStart:
		it.at = -2
	case atEnd, atTime:
		it.at = -1
	case byTime:
		it.at = c.milli
	case unknown, known:
	}
	return it
}

// An answer is what a job has brought of an item.
type answer struct {
	err   error // as fail takes it
	again bool  // the error passes, or its leader is not what it was
	out   bool  // the offset is out of the log's range

	offset int64 // listed, or the end of the epoch
	epoch  int32

	batch.Fetched
	end  int64 // of what may be read
	some bool  // bytes have come, whatever was in them
}

// done takes the answers to a job, in the order of its items, nil for those that the broker
// has left out; none at all if it could not be asked.
func (s *cursors) done(j *job, answers []*answer) {
	if j.what == fetching {
		delete(s.flying, j.way)
	}
	if j.way.second { // which has no use for them if no fetch is under way on the first
		s.touched[j.way.node] = struct{}{}
	}
	progress := false
	for i, a := range answers {
		progress = progress || a != nil && a.Next > j.items[i].offset
	}
	for i, it := range j.items {
		c := s.parts[it.part]
		if c == nil || c.term != it.term {
			continue
		}
		c.busy = false
		switch {
		case answers == nil, answers[i] == nil, answers[i].again:
			c.lose()
		case answers[i].out:
			s.restart(c)
			c.lose() // if it happens again it shall not do so at once
		case answers[i].err != nil:
			s.fail(c, answers[i].err)
		default:
			switch j.what {
			case listing:
				c.listed(answers[i])
			case checking:
				s.checked(c, answers[i])
			case fetching:
				s.fetched(c, j.way, it, answers[i], progress)
			case nothing:
			}
		}
	}
}

// restart has a cursor begin at the start of the log: what it had is not there any more.
func (s *cursors) restart(c *cursor) {
	s.renew(c)
	c.from, c.epoch, c.check = atStart, -1, false
}

func (c *cursor) listed(a *answer) {
	offset, epoch := a.offset, a.epoch
	if c.from == byTime && offset < 0 { // nothing is as late
		offset, epoch = c.end, -1
	}
	switch {
	case offset < 0:
		c.lose()
	case c.from == atTime:
		c.from, c.end = byTime, offset
	default:
		c.from, c.offset, c.epoch = known, offset, epoch
	}
}

// checked goes back to where the log of the leader and of the one before it part.
func (s *cursors) checked(c *cursor, a *answer) {
	c.check = false
	switch {
	case a.offset < 0 && c.moved: // nobody knows where that is
		s.restart(c)
	case a.offset >= 0 && a.offset < c.offset:
		c.offset, c.epoch = a.offset, a.epoch
	}
}

// fetched moves a cursor on. What has come of one that is paused by now is kept if there is room.
func (s *cursors) fetched(c *cursor, w way, it item, a *answer, progress bool) {
	c.pinned = true // other requests name the topic, not its id
	if a.Next <= it.offset {
		if a.some && !progress {
			c.lose() // it shall not be asked for again at once
			return
		}
		c.rounds++
		c.tries = 0
		return
	}
	if len(a.Records) > 0 {
		memory := int64(a.Memory)
		if c.paused && s.keep > 0 && s.kept+memory > s.keep {
			return
		}
		if c.paused {
			s.kept += memory
		}
		b := Batch{Partition: c.part, Records: a.Records, End: a.end, Bytes: a.Bytes}
		c.ahead = &ahead{Batch: b, memory: memory, from: it.offset, epoch: it.epoch, way: w}
		s.queue(c)
	}
	c.offset, c.rounds, c.tries, c.moved = a.Next, 0, 0, true
	if a.Epoch >= 0 {
		c.epoch = a.Epoch
	}
}
