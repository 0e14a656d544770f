// SPDX-License-Identifier: Apache-2.0

package simtest

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/assign"
	"github.com/millrace/millrace/internal/runtime/link/member"
)

const (
	heartbeatEvery = 1_000 // ms
	firstHeartbeat = 500
)

// A process is an instance: the member's core and the tasks' cores, and around them
// what the client and the engine's shells do, in the order in which they do it.
type process struct {
	w        *world
	name     string // across restarts
	instance string // of a static member
	version  int
	alive    bool
	cut      int64    // until when nothing gets through
	matched  []string // topics of its pattern that it knows

	id         string
	generation int32
	core       *member.Core
	owned      map[assign.Partition]bool
	joining    bool // a join or sync is under way
	settling   bool // what an assignment takes away is being released
	owed       bool // another join is due then
	session    int  // counts assignments
	leaving    bool

	tasks     map[runtime.TaskID]*task
	order     []*task // those that run, in order of their start
	next      int
	busyUntil int64
	closed    map[runtime.TaskID]*task // the last task of an id whose stores are being closed
	lane      lane
	inFlight  *commit
	lag       int64 // of its tasks, as a slow machine: ms a slice
}

func (w *world) start(name, instance string, version int) *process {
	w.born++
	p := &process{
		w: w, name: name, instance: instance, version: version, alive: true, generation: -1,
		id:      fmt.Sprintf("%s#%d", name, w.born),
		matched: slices.Clone(w.matched),
		owned:   map[assign.Partition]bool{}, tasks: map[runtime.TaskID]*task{}, closed: map[runtime.TaskID]*task{},
	}
	p.core = member.New(p.subs(), p.topics(), assign.Config{})
	p.lane.p = p
	w.procs = append(w.procs, p)
	w.say("%s starts, version %d", p.id, version+1)
	p.join()
	p.work()
	p.commits()
	return p
}

// subs are the sub-topologies of its program, with what it knows of their patterns.
func (p *process) subs() []assign.Sub {
	subs := slices.Clone(p.w.programs[p.version].subs)
	for i := range subs {
		if len(subs[i].Patterns) > 0 {
			subs[i].Matched = slices.Clone(p.matched)
		}
	}
	return subs
}

// topics are those that it reads.
func (p *process) topics() []string {
	topics := slices.Clone(p.w.programs[p.version].topics)
	for _, s := range p.subs() {
		topics = append(topics, s.Matched...)
	}
	return topics
}

// see has it read a topic that matches from now on.
func (p *process) see(topic string) {
	if !p.alive || slices.Contains(p.matched, topic) {
		return
	}
	p.matched = append(p.matched, topic)
	p.core.Subscribe(p.subs(), nil)
	p.w.say("%s sees topic %s", p.id, topic)
	switch {
	case len(p.w.programs[p.version].subs) == len(p.w.programs[0].subs): // it has no pattern
	case p.joining || p.settling:
		p.owed = true
	default:
		p.join()
	}
}

func (p *process) runs(sub string) bool {
	return slices.ContainsFunc(p.w.programs[p.version].subs, func(s assign.Sub) bool { return s.Name == sub })
}

// ask carries a request to the broker and its answer back, as often as it takes: what
// meets no broker is sent again, and so is what gets no answer. serve runs at the
// broker; what it replies with runs in the process.
func (p *process) ask(serve func(reply func(then func()))) { p.send(serve, func() { p.ask(serve) }) }

// send is ask, with what is to be done when the answer is lost.
func (p *process) send(serve func(reply func(then func())), lost func()) {
	w := p.w
	w.after(w.between(1, 15), func() {
		if w.away || p.cut > w.now {
			w.after(w.between(50, 150), func() {
				if p.alive {
					p.send(serve, lost)
				}
			})
			return
		}
		outages := w.outages
		serve(func(then func()) {
			w.after(w.between(1, 15), func() {
				switch {
				case !p.alive:
				case w.outages != outages || p.cut > w.now:
					lost()
				default:
					then()
				}
			})
		})
	})
}

// join joins the group with what is owned.
func (p *process) join() {
	if p.joining || !p.alive || p.leaving {
		return
	}
	p.joining, p.owed = true, false
	owned := map[string][]int32{}
	for _, part := range slices.SortedFunc(maps.Keys(p.owned), comparePartitions) {
		owned[part.Topic] = append(owned[part.Topic], part.Num)
	}
	meta := p.core.Join(p.topics(), owned, p.generation, p.data())
	p.parked(func(answer func(joinAnswer)) {
		p.w.group.join(p.id, p.instance, meta, answer)
	}, p.joined)
}

// data is what the instance says of itself: where its states stand.
func (p *process) data() assign.Data {
	d := assign.Data{ClientID: p.name, Address: p.name + ":80", Capacity: 1}
	for id, t := range p.tasks {
		if t.phase == taskRuns {
			d.Copies = append(d.Copies, assign.Copy{Task: assign.TaskID(id), Role: assign.Active, Position: t.position})
		}
	}
	return d
}

// parked sends a request that the coordinator answers when it will, again after each
// outage. Of several answers the first counts.
func (p *process) parked(serve func(answer func(joinAnswer)), then func(joinAnswer)) {
	answered, tries := false, 0
	var send func()
	send = func() {
		tries++
		try := tries
		resend := func() {
			if tries == try && !answered {
				send()
			}
		}
		p.send(func(reply func(func())) {
			outages := p.w.outages
			serve(func(a joinAnswer) {
				reply(func() {
					if !answered {
						answered = true
						then(a)
					}
				})
			})
			p.again(outages, func() bool { return answered || tries != try }, resend)
		}, resend)
	}
	send()
}

// again sends once more what was not answered before an outage.
func (p *process) again(outages int, over func() bool, send func()) {
	p.w.after(500, func() {
		switch {
		case over() || !p.alive:
		case p.w.outages != outages:
			send()
		default:
			p.again(outages, over, send)
		}
	})
}

func (p *process) joined(a joinAnswer) {
	if a.err != nil {
		p.joining = false
		p.expelled(a.err)
		return
	}
	p.generation = a.generation
	var shares map[string][]byte
	if a.deals {
		shares = p.deal(a.members)
	}
	p.parked(func(answer func(joinAnswer)) {
		p.w.group.sync(p.id, a.generation, shares, func(s syncAnswer) {
			answer(joinAnswer{err: s.err, members: []member.Joined{{Metadata: s.assignment}}})
		})
	}, func(s joinAnswer) { p.synced(syncAnswer{s.err, s.members[0].Metadata}) })
}

func (p *process) deal(members []member.Joined) map[string][]byte {
	p.w.stats.rebalances++
	r := p.core.Gather(members)
	for _, e := range r.Refused {
		p.w.fail("%s cannot be read: %v", e.ID, e)
	}
	counts := map[string]int32{}
	for _, t := range r.Topics {
		counts[t] = p.w.counts[t]
	}
	d := r.Deal(counts)
	shares := map[string][]byte{}
	for i, data := range d.Encode() {
		shares[d.Plan.Shares[i].ID] = data
		p.w.say("dealt to %s: %v", d.Plan.Shares[i].ID, d.Plan.Shares[i].Partitions)
	}
	return shares
}

func (p *process) synced(a syncAnswer) {
	p.joining = false
	switch {
	case p.leaving:
		return
	case errors.Is(a.err, kerr.RebalanceInProgress):
		p.join()
		return
	case a.err != nil:
		p.expelled(a.err)
		return
	}
	got, err := p.core.Read(a.assignment)
	if err != nil || got.Skipped != nil {
		p.w.fail("%s: %v %v", p.id, err, got.Skipped)
		return
	}
	now := map[assign.Partition]bool{}
	for topic, nums := range got.Partitions {
		for _, n := range nums {
			now[assign.Partition{Topic: topic, Num: n}] = true
		}
	}
	var added, lost []assign.Partition
	for _, part := range slices.SortedFunc(maps.Keys(now), comparePartitions) {
		if !p.owned[part] {
			added = append(added, part)
		}
	}
	for _, part := range slices.SortedFunc(maps.Keys(p.owned), comparePartitions) {
		if !now[part] {
			lost = append(lost, part)
		}
	}
	p.owned = now
	p.w.say("%s in generation %d: %d partitions, + %v, - %v", p.id, p.generation, len(now), added, lost)
	p.session++
	p.heartbeat(p.session, firstHeartbeat)
	p.settling = true
	session := p.session
	p.revoke(lost, func() {
		if p.session != session || !p.alive {
			return // expelled meanwhile
		}
		p.add(added)
		p.settling = false
		if len(lost) > 0 || got.Again || p.owed {
			p.join()
		}
	})
}

// heartbeat keeps the session, until another begins.
func (p *process) heartbeat(session int, in int64) {
	p.w.after(in, func() {
		if !p.alive || p.session != session || p.joining {
			return
		}
		p.ask(func(reply func(func())) {
			err := p.w.group.heartbeat(p.id, p.generation)
			reply(func() { p.heard(session, err) })
		})
	})
}

func (p *process) heard(session int, err error) {
	switch {
	case p.session != session || p.joining:
	case err == nil, p.leaving && errors.Is(err, kerr.RebalanceInProgress):
		p.heartbeat(session, heartbeatEvery)
	case !errors.Is(err, kerr.RebalanceInProgress):
		p.expelled(err)
	case p.settling:
		p.owed = true
		p.heartbeat(session, heartbeatEvery)
	default:
		p.join()
	}
}

// expelled drops everything: the group goes on without this member, which joins anew.
func (p *process) expelled(err error) {
	w := p.w
	w.say("%s is out of the group: %v", p.id, err)
	w.stats.evictions++
	w.faults = true
	parts := slices.SortedFunc(maps.Keys(p.owned), comparePartitions)
	p.session++
	p.settling, p.owed = false, false
	p.owned = map[assign.Partition]bool{}
	p.core.Released(parts...)
	all := slices.Clone(p.order) // those that were to be released, too
	for _, t := range p.detach(parts) {
		if !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	for _, part := range parts {
		p.drop(part)
	}
	p.lane.reset()
	p.joining = true
	left := 1
	done := func() {
		if left--; left == 0 && p.alive {
			p.joining = false
			p.anew(err)
		}
	}
	for _, t := range all {
		left++
		t.whenReleased(done)
	}
	for _, t := range all {
		p.end(t, true)
	}
	done()
}

// anew joins once more, when all tasks are dropped.
func (p *process) anew(err error) {
	w := p.w
	if errors.Is(err, kerr.UnknownMemberID) {
		w.born++
		p.id = fmt.Sprintf("%s#%d", p.name, w.born)
		p.generation = -1
	}
	p.join()
}

// add takes partitions that the group has given.
func (p *process) add(parts []assign.Partition) {
	p.core.Assigned(parts...)
	for _, part := range parts {
		if o := p.w.holders[part]; o != nil && o != p && o.alive && p.w.group.members[o.id] != nil {
			p.w.fail("%s gets %v, which %s still has", p.id, part, o.id)
		}
		p.w.holders[part] = p
		p.attach(part)
	}
	p.begin()
}

func (p *process) drop(part assign.Partition) {
	if p.w.holders[part] == p {
		delete(p.w.holders, part)
	}
}

// revoke gives partitions back, when their tasks are committed and released.
func (p *process) revoke(parts []assign.Partition, then func()) {
	gone := p.detach(parts)
	left := len(gone)
	over := false
	done := func() {
		if over {
			return
		}
		over = true
		p.core.Released(parts...)
		for _, part := range parts {
			p.drop(part)
		}
		then()
	}
	if left == 0 {
		done()
		return
	}
	for _, t := range gone {
		t.whenReleased(func() {
			if left--; left == 0 {
				done()
			}
		})
	}
	for _, t := range gone {
		p.end(t, false)
	}
	p.w.after(rebalanceTimeout*4/5, func() {
		if over || !p.alive {
			return
		}
		p.w.say("%s drops what it cannot commit", p.id)
		p.w.stats.drops++
		p.w.faults = true
		for _, t := range gone {
			p.end(t, true)
		}
	})
}

// leave gives everything back and ends the process; stay says that it remains a
// member, to come back within the session.
func (p *process) leave(stay bool) {
	if p.leaving || !p.alive {
		return
	}
	if p.joining || p.settling {
		p.w.after(50, func() { p.leave(stay) })
		return
	}
	p.w.say("%s leaves, to stay a member: %v", p.id, stay)
	p.leaving = true
	parts := slices.SortedFunc(maps.Keys(p.owned), comparePartitions)
	p.revoke(parts, func() {
		if stay {
			p.die()
			return
		}
		p.ask(func(reply func(func())) {
			p.w.group.leave(p.id, "has left")
			reply(func() {})
		})
		// The process goes once its farewell is said: see farewell.
		p.farewell()
	})
}

// farewell ends a process as soon as the group has let it go.
func (p *process) farewell() {
	p.w.after(20, func() {
		switch {
		case !p.alive:
		case p.w.group.members[p.id] == nil:
			p.die()
		default:
			p.farewell()
		}
	})
}

// kill ends a process at once, as kill -9 does.
func (p *process) kill() {
	p.w.say("%s is killed", p.id)
	p.w.stats.kills++
	p.w.faults = true
	p.die()
}

func (p *process) die() {
	p.alive = false
	for _, t := range p.tasks {
		p.note(t)
	}
	for part, o := range p.w.holders {
		if o == p {
			delete(p.w.holders, part)
		}
	}
	p.w.procs = slices.DeleteFunc(p.w.procs, func(o *process) bool { return o == p })
}
