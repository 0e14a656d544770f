// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"cmp"
	"math"
	"slices"

	"github.com/millrace/millrace/internal/plan"
)

// never is when a clock without punctuations brings the next one.
const never int64 = math.MaxInt64

// punctuations are those of one clock, the next one first.
type punctuations struct {
	list []*punctuation
	due  int64 // of the first; meaningless if there is none
	seq  int
}

// A punctuation is a function that runs whenever time passes a point of its grid,
// as Kafka Streams' PunctuationSchedule has it: once, however many points were
// passed, with the time as it is now.
type punctuation struct {
	node      *plan.Node
	seq       int // of registration: who is due at one time runs in this order
	due       int64
	every     int64
	run       func(at int64) error
	cancelled bool
}

func (p *punctuations) next() int64 {
	if len(p.list) == 0 {
		return never
	}
	return p.due
}

func (p *punctuations) add(x *punctuation) {
	i, _ := slices.BinarySearchFunc(p.list, x, func(a, b *punctuation) int {
		return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.seq, b.seq))
	})
	p.list = slices.Insert(p.list, i, x)
	p.due = p.list[0].due
}

func (p *punctuations) remove(x *punctuation) {
	p.list = slices.DeleteFunc(p.list, func(y *punctuation) bool { return x == y })
	if len(p.list) > 0 {
		p.due = p.list[0].due
	}
}

// after is the first point of the grid after now.
func (x *punctuation) after(now int64) int64 {
	if now < x.due {
		return x.due
	}
	return x.due + ((now-x.due)/x.every+1)*x.every
}

func (t *Task) schedule(n *plan.Node, s plan.Schedule, fn func(int64) error) (cancel func()) {
	clock, x := &t.streamPuncts, &punctuation{node: n, every: max(s.Every, 1), run: fn, due: s.Start}
	switch {
	case s.Wall:
		clock = &t.wallPuncts
		if s.Start == NoTime {
			x.due = t.now + x.every
		}
	case s.Start == NoTime:
		x.due = 0
	}
	if !s.Wall && t.building && t.streamTime != NoTime {
		x.due = x.after(t.streamTime) // what was due has run before the task was restored
	}
	x.seq = clock.seq
	clock.seq++
	clock.add(x)
	return func() {
		x.cancelled = true
		clock.remove(x)
	}
}

// punctuate runs what is due.
func (t *Task) punctuate(clock *punctuations, now int64) error {
	for len(clock.list) > 0 && clock.due <= now {
		x := clock.list[0]
		clock.remove(x)
		err := t.run(x.node, func() error { return x.run(now) })
		if !x.cancelled {
			x.due = x.after(now)
			clock.add(x)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Punctuate tells the task the time of day, in ms since the Unix epoch, and runs
// what is due by it. ran tells whether anything was.
func (t *Task) Punctuate(now int64) (ran bool, err error) {
	t.now = max(t.now, now)
	if t.wallPuncts.next() > t.now {
		return false, nil
	}
	t.current = plan.Current{Partition: t.id.Partition}
	return true, t.punctuate(&t.wallPuncts, t.now)
}

// NextWall is when Punctuate has something to run, in ms since the Unix epoch.
func (t *Task) NextWall() int64 { return t.wallPuncts.next() }

// run calls a function of a node outside of a record: a panic is the node's.
func (t *Task) run(n *plan.Node, fn func() error) (err error) {
	t.at = int32(n.ID)
	defer func() {
		if v := recover(); v != nil {
			err = t.panicked(v)
		}
	}()
	if err := fn(); err != nil {
		return t.told(err)
	}
	return nil
}
