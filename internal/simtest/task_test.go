// SPDX-License-Identifier: Apache-2.0

package simtest

import (
	"cmp"
	"maps"
	"slices"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/assign"
	"github.com/millrace/millrace/internal/runtime/link"
	"github.com/millrace/millrace/internal/runtime/link/member"
	"github.com/millrace/millrace/state"
)

const (
	commitEvery = 200 // ms
	sliceSize   = 16  // records
)

type taskPhase int

const (
	taskWaits taskPhase = iota // for the rest of its partitions
	taskRestores
	taskRuns
	taskEnds
)

// A task is a slot of the engine: from the first of its partitions until its stores
// are closed.
type task struct {
	id    runtime.TaskID
	need  []assign.Partition // it does not begin without these
	have  map[assign.Partition]bool
	ins   []assign.Partition // its inputs, when it has begun
	late  []assign.Partition // of have: those that have come since
	phase taskPhase
	core  *runtime.Task
	store state.Store
	db    state.DB

	position  int64 // of its changelog
	touched   bool
	leaving   bool
	discarded bool
	released  bool
	shut      bool // its stores are closed
	then      []func()
}

func (t *task) whenReleased(fn func()) {
	if t.released {
		fn()
		return
	}
	t.then = append(t.then, fn)
}

// attach gives a partition to its task, which begin lets go on.
func (p *process) attach(part assign.Partition) {
	id := runtime.TaskID{Sub: subOf(part.Topic), Partition: part.Num}
	t := p.tasks[id]
	if t == nil {
		t = &task{id: id, have: map[assign.Partition]bool{}}
		for _, s := range p.w.programs[p.version].subs {
			for _, topic := range s.Topics {
				if s.Name == id.Sub && part.Num < p.w.counts[topic] {
					t.need = append(t.need, assign.Partition{Topic: topic, Num: part.Num})
				}
			}
		}
		p.tasks[id] = t
	}
	t.have[part] = true
	if t.phase != taskWaits {
		t.late = append(t.late, part)
	}
}

// begin has tasks go on that have what they need, or more than they run with.
func (p *process) begin() {
	byID := func(a, b *task) int {
		return cmp.Or(cmp.Compare(a.id.Sub, b.id.Sub), cmp.Compare(a.id.Partition, b.id.Partition))
	}
	for _, t := range slices.SortedFunc(maps.Values(p.tasks), byID) {
		whole := !slices.ContainsFunc(t.need, func(part assign.Partition) bool { return !t.have[part] })
		switch {
		case t.phase == taskWaits && whole:
			t.phase = taskRestores
			t.ins = slices.SortedFunc(maps.Keys(t.have), comparePartitions)
			p.bring(t, p.closed[t.id])
		case t.phase == taskRuns && len(t.late) > 0:
			late := t.late
			t.late = nil
			p.grow(t, late)
		}
	}
}

// grow gives inputs to a task that runs.
func (p *process) grow(t *task, late []assign.Partition) {
	p.ask(func(reply func(func())) {
		origins := p.w.originsOf(late)
		reply(func() {
			if t.phase != taskRuns || t.leaving || t.discarded || p.tasks[t.id] != t {
				return
			}
			for _, part := range late {
				if err := t.core.AddInput(part.Topic, origins); err != nil {
					p.w.fail("%s: %v", p.id, err)
					return
				}
				t.ins = append(t.ins, part)
				p.w.readAgain(t.id.Sub, part, origins[part.Topic].Offset)
				p.w.stats.grown++
				p.w.say("%s: %v reads %v as well", p.id, t.id, part)
			}
		})
	})
}

// originsOf is where the group has committed partitions.
func (w *world) originsOf(parts []assign.Partition) map[string]runtime.Origin {
	origins := map[string]runtime.Origin{}
	for _, part := range parts {
		if pos, ok := w.offsets[part]; ok {
			origins[part.Topic] = runtime.Origin{Position: runtime.Position{Offset: pos.Offset, Epoch: -1}, Metadata: pos.Metadata}
		}
	}
	return origins
}

// detach takes partitions away and gives the tasks that lose any.
func (p *process) detach(parts []assign.Partition) []*task {
	var gone []*task
	for _, part := range parts {
		t := p.tasks[runtime.TaskID{Sub: subOf(part.Topic), Partition: part.Num}]
		if t == nil || !t.have[part] {
			continue
		}
		delete(t.have, part)
		if !slices.Contains(gone, t) {
			gone = append(gone, t)
		}
	}
	for _, t := range gone {
		delete(p.tasks, t.id)
		p.closed[t.id] = t
		for _, part := range slices.SortedFunc(maps.Keys(t.have), comparePartitions) {
			p.attach(part)
		}
	}
	p.begin()
	return gone
}

// bring restores a task and gives it to the worker, when the stores of the one before
// are closed.
func (p *process) bring(t, before *task) {
	if before != nil && !before.shut {
		p.w.after(20, func() {
			if p.alive && t.phase == taskRestores {
				p.bring(t, before)
			}
		})
		return
	}
	p.ask(func(reply func(func())) {
		origins := p.w.originsOf(t.ins)
		var changes []plan.Raw
		if prog := p.w.programs[p.version]; len(prog.sub(t.id.Sub).Stores) > 0 {
			changes = slices.Clone(*p.w.log(assign.Partition{Topic: changelogOf(t.id.Sub), Num: t.id.Partition}))
		}
		reply(func() {
			p.w.after(p.w.between(1, 100), func() {
				if p.alive && t.phase == taskRestores {
					p.ready(t, origins, changes)
				}
			})
		})
	})
}

func (p *process) ready(t *task, origins map[string]runtime.Origin, changes []plan.Raw) {
	w := p.w
	sub := w.programs[p.version].sub(t.id.Sub)
	cfg := runtime.TaskConfig{
		Sub: sub, Partition: t.id.Partition, Matches: t.matches(sub), Out: outputs{p}, Start: origins, Now: w.now, MaxIdle: -1,
	}
	if len(sub.Stores) > 0 {
		if err := t.open(sub.Stores[0], changes); err != nil {
			w.fail("%s: open %v: %v", p.id, t.id, err)
			return
		}
		cfg.Stores = []state.Store{t.store}
	}
	var err error
	if t.core, err = runtime.NewTask(cfg); err != nil {
		w.fail("%s: %v", p.id, err)
		return
	}
	for _, part := range t.ins {
		w.readAgain(t.id.Sub, part, origins[part.Topic].Offset)
	}
	t.phase = taskRuns
	p.order = append(p.order, t)
	w.say("%s runs %v", p.id, t.id)
	p.begin()
}

// matches are the inputs of a task that its sub-topology reads because of a pattern.
func (t *task) matches(sub *plan.Sub) plan.Matches {
	m := plan.Matches{}
	for _, n := range sub.Sources {
		for _, part := range t.ins {
			if n.Pattern != nil && n.Pattern.Matches(part.Topic) {
				m[n.Pattern.Expr] = append(m[n.Pattern.Expr], part.Topic)
			}
		}
	}
	return m
}

func (t *task) open(def *plan.Store, changes []plan.Raw) error {
	var err error
	if t.db, err = state.Memory().Open(t.id.String()); err != nil {
		return err
	}
	base, err := t.db.Base(def.Name)
	if err != nil {
		return err
	}
	t.store = def.Open(base, state.Options{})
	var restored []state.Change
	for _, r := range changes {
		restored = append(restored, state.Change{Key: r.Key, Value: r.Value, Timestamp: r.Timestamp})
	}
	t.position = int64(len(changes))
	if err := t.store.Restore(restored, t.header()); err != nil {
		return err
	}
	return t.store.Restored()
}

func (t *task) header() state.Header {
	return state.Header{
		Cluster: "sim", Changelog: changelogOf(t.id.Sub), Partition: t.id.Partition, Position: t.position,
		LeaderEpoch: state.NoEpoch, Kind: t.store.Kind(), Serdes: t.store.Serdes(), Format: state.Format,
	}
}

// readAgain notes what a start of a task reads that was read before.
func (w *world) readAgain(sub string, part assign.Partition, from int64) {
	for _, r := range (*w.log(part))[from:max(from, w.reached[part])] {
		w.most.add(sub, string(r.Key), 1)
		w.stats.again++
	}
}

// note keeps how far a task came, however it ends.
func (p *process) note(t *task) {
	if t.core == nil {
		return
	}
	for _, part := range t.ins {
		p.w.reached[part] = max(p.w.reached[part], t.core.Position(part.Topic))
	}
}

// work runs a slice of the next task that has something, again and again.
func (p *process) work() {
	p.w.after(p.w.between(5, 25)+p.lag, func() {
		if !p.alive {
			return
		}
		defer p.work()
		if p.cut > p.w.now || p.w.away || len(p.order) == 0 {
			return
		}
		p.next = (p.next + 1) % len(p.order)
		p.slice(p.order[p.next])
	})
}

func (p *process) slice(t *task) {
	if t.leaving || t.discarded || p.w.now < p.busyUntil {
		return
	}
	for _, part := range t.ins {
		at := max(t.core.Position(part.Topic), 0)
		l := *p.w.log(part)
		if t.core.Pending(part.Topic) == 0 && at < int64(len(l)) {
			if err := t.core.Offer(part.Topic, l[at:min(int64(len(l)), at+40)]); err != nil {
				p.w.fail("%s: %v", p.id, err)
				return
			}
		}
	}
	n, err := t.core.Run(p.w.now, sliceSize)
	if err != nil {
		p.w.fail("%s: %v", p.id, err)
		return
	}
	if n == 0 {
		return
	}
	t.touched = true
	if p.joining || p.settling {
		p.w.stats.busy++
	}
	p.note(t)
}

// outputs are the ways out of a task.
type outputs struct{ p *process }

func (o outputs) Output(topic string) plan.Output {
	return func(key, value []byte, at int64, _ []plan.Header) error {
		r := plan.Raw{Key: slices.Clone(key), Value: slices.Clone(value), Timestamp: at}
		o.p.lane.append(assign.Partition{Topic: topic}, r)
		return nil
	}
}

// end lets a task go: with a commit of what it has done, or without.
func (p *process) end(t *task, drop bool) {
	was := t.phase
	t.phase = taskEnds
	switch {
	case t.released:
	case was == taskWaits || was == taskRestores:
		p.release(t)
	case p.w.now < p.busyUntil: // the worker is at something else
		p.w.after(p.busyUntil-p.w.now, func() {
			if p.alive {
				p.end(t, drop)
			}
		})
	case drop:
		t.discarded = true
		p.release(t)
	case t.leaving:
	default:
		t.leaving = true
		switch {
		case p.inFlight.has(t): // finished goes on
		case !t.touched:
			p.release(t)
		case p.inFlight == nil:
			p.startCommit([]*task{t})
		}
	}
}

// release gives a task's partitions back. Its stores are closed beside all else,
// which may take long.
func (p *process) release(t *task) {
	t.released = true
	p.note(t)
	p.order = slices.DeleteFunc(p.order, func(o *task) bool { return o == t })
	p.w.say("%s releases %v, without a commit: %v", p.id, t.id, t.discarded)
	p.w.after(p.w.between(0, 500), func() {
		if t.db != nil {
			if t.discarded {
				t.store.Discard()
			}
			if err := cmp.Or(t.store.Close(), t.db.Close()); err != nil {
				p.w.fail("close %v: %v", t.id, err)
			}
		}
		t.shut = true
	})
	for _, fn := range t.then {
		fn()
	}
}

// A commit is what tasks have done since the last one, on its way.
type commit struct {
	parts   []commitPart
	offsets map[assign.Partition]link.Position
	acked   bool
	mine    *member.Commit
}

type commitPart struct {
	t      *task
	sealed *runtime.Sealed
}

func (c *commit) has(t *task) bool {
	return c != nil && slices.ContainsFunc(c.parts, func(p commitPart) bool { return p.t == t })
}

// live are the partitions of tasks that have not been dropped.
func (c *commit) live() []assign.Partition {
	var parts []assign.Partition
	for _, part := range c.parts {
		if !part.t.discarded {
			parts = append(parts, part.t.ins...)
		}
	}
	return parts
}

// commits starts a commit now and then.
func (p *process) commits() {
	p.w.after(commitEvery, func() {
		if !p.alive {
			return
		}
		defer p.commits()
		if p.inFlight == nil && p.w.now >= p.busyUntil {
			p.startCommit(p.touched(func(*task) bool { return true }))
		}
	})
}

func (p *process) touched(which func(*task) bool) []*task {
	return slices.DeleteFunc(slices.Clone(p.order), func(t *task) bool { return !t.touched || t.discarded || !which(t) })
}

func (p *process) startCommit(tasks []*task) {
	if len(tasks) == 0 {
		return
	}
	c := &commit{offsets: map[assign.Partition]link.Position{}}
	for _, t := range tasks {
		sealed, err := t.core.Seal()
		if err != nil {
			p.w.fail("%s: %v", p.id, err)
			return
		}
		for _, l := range sealed.Layers {
			log := assign.Partition{Topic: changelogOf(t.id.Sub), Num: t.id.Partition}
			_ = l.Layer.Each(func(ch state.Change) error {
				p.lane.append(log, plan.Raw{Key: slices.Clone(ch.Key), Value: slices.Clone(ch.Value), Timestamp: ch.Timestamp})
				return nil
			})
		}
		for topic, pos := range sealed.Next {
			c.offsets[assign.Partition{Topic: topic, Num: t.id.Partition}] = link.Position{Offset: pos.Offset, Metadata: sealed.Metadata[topic]}
		}
		c.parts = append(c.parts, commitPart{t: t, sealed: sealed})
		t.touched = false
	}
	p.inFlight = c
	p.lane.flush(func() {
		c.acked = true
		p.commitOffsets(c)
	})
}

// commitOffsets commits what is still owned, until the group takes it. The client
// holds a commit back while the group joins.
func (p *process) commitOffsets(c *commit) {
	if p.inFlight != c {
		return
	}
	if p.joining {
		p.w.after(20, func() { p.commitOffsets(c) })
		return
	}
	if c.mine == nil {
		c.mine = p.core.Commit(c.live()...)
	}
	left := map[assign.Partition]link.Position{}
	for part, pos := range c.offsets {
		if c.mine.Holds(part) {
			left[part] = pos
		}
	}
	if len(left) == 0 {
		p.finish(c)
		return
	}
	id, generation := p.id, p.generation
	p.ask(func(reply func(func())) {
		err := p.w.group.mayCommit(id, generation)
		if err == nil {
			p.w.take(p, left)
		}
		reply(func() { p.committed(c, err) })
	})
}

func (p *process) committed(c *commit, err error) {
	if p.inFlight != c || !p.alive {
		return
	}
	switch member.Judge(err) {
	case member.Done:
		p.finish(c)
	case member.Again:
		p.w.stats.retried++
		p.w.say("%s commits again: %v", p.id, err)
		p.w.after(100, func() {
			if p.alive {
				p.commitOffsets(c)
			}
		})
	default:
		p.w.fail("%s: commit: %v", p.id, err)
	}
}

// take is a commit at the broker.
func (w *world) take(p *process, offsets map[assign.Partition]link.Position) {
	for _, part := range slices.SortedFunc(maps.Keys(offsets), comparePartitions) {
		pos := offsets[part]
		if old := w.offsets[part].Offset; pos.Offset < old {
			w.fail("%s commits %v at %d, and it was at %d", p.id, part, pos.Offset, old)
		}
		w.offsets[part] = pos
		w.say("%s commits %v at %d", p.id, part, pos.Offset)
	}
}

// finish hands the layers of a commit to the bases, and lets those tasks go that
// waited for it.
func (p *process) finish(c *commit) {
	if !p.alive {
		return
	}
	if p.w.now < p.busyUntil {
		p.w.after(p.busyUntil-p.w.now, func() { p.finish(c) })
		return
	}
	p.inFlight = nil
	for _, part := range c.parts {
		t := part.t
		if t.discarded || t.shut {
			continue
		}
		if t.store != nil {
			t.position = int64(len(*p.w.log(assign.Partition{Topic: changelogOf(t.id.Sub), Num: t.id.Partition})))
		}
		if err := t.core.Commit(part.sealed, func(state.Store) state.Header { return t.header() }); err != nil {
			p.w.fail("%s: %v", p.id, err)
			return
		}
		if t.leaving && !t.touched && !t.released {
			p.release(t)
		}
	}
	p.startCommit(p.touched(func(t *task) bool { return t.leaving }))
}

// A lane sends records in order, a chunk at a time.
type lane struct {
	p       *process
	era     int // ends with reset
	pending []laneRecord
	sending bool
	waiting []func()
}

type laneRecord struct {
	to assign.Partition
	r  plan.Raw
}

func (l *lane) append(to assign.Partition, r plan.Raw) {
	l.pending = append(l.pending, laneRecord{to, r})
	if !l.sending && len(l.pending) >= 20 {
		l.send()
	}
}

// flush calls done when all that was appended is acknowledged.
func (l *lane) flush(done func()) {
	l.waiting = append(l.waiting, done)
	if !l.sending {
		l.send()
	}
}

func (l *lane) send() {
	p, era, chunk, done := l.p, l.era, l.pending, l.waiting
	l.pending, l.waiting = nil, nil
	l.sending = true
	arrived := false // it is idempotent
	id := p.id
	p.ask(func(reply func(func())) {
		if p.w.group.members[id] == nil {
			return // see the package's comment
		}
		if !arrived {
			arrived = true
			for _, r := range chunk {
				p.w.append(r.to, r.r)
			}
		}
		reply(func() {
			if l.era != era {
				return
			}
			l.sending = false
			for _, fn := range done {
				fn()
			}
			if !l.sending && (len(l.pending) > 0 || len(l.waiting) > 0) {
				l.send()
			}
		})
	})
}

// reset drops what is on its way, and the commit that waits for it.
func (l *lane) reset() {
	l.era++
	l.pending, l.waiting, l.sending = nil, nil, false
	if c := l.p.inFlight; c != nil && !c.acked {
		l.p.inFlight = nil
	}
}
