// SPDX-License-Identifier: Apache-2.0

package assign_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/internal/runtime/assign"
)

// A process is a member in the simulated group. What it owns, it owns until it has
// seen an assignment without it, or is dead.
type process struct {
	id, instance string
	alive        bool
	generation   int32
	owned        map[assign.Partition]bool
	disk         map[assign.TaskID]int64 // positions of states
	standby      map[assign.TaskID]bool
	active       []assign.TaskID
	version      int
	capacity     int32
	heard        assign.View // in its last assignment
}

// cluster simulates a group of the classic protocol with cooperative members, which
// join, leave, die, come back and miss assignments, as the coordinator sees them.
type cluster struct {
	t        *rapid.T
	versions [][]assign.Sub
	counts   map[string]int32
	cfg      assign.Config
	procs    []*process
	// stored is what the coordinator keeps for a static member that is away: its
	// last metadata and its last assignment.
	stored     map[string]assign.Member
	answers    map[string]answer
	generation int32
	leader     string
	born       int
	head       int64 // how far the changelogs are
	followUp   bool
	warming    bool
	lastMoves  bool // the last round gave or took something
}

// An answer is an assignment as a member gets it.
type answer struct {
	partitions []assign.Partition
	userData   []byte
}

func (c *cluster) topics(version int) []string {
	set := map[string]bool{}
	for _, s := range c.versions[version] {
		for _, t := range s.Topics {
			set[t] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func (c *cluster) start(instance string, version int) *process {
	c.born++
	p := &process{
		id: fmt.Sprintf("%s-%03d", instance, (c.born*7919)%1000), instance: instance, alive: true, generation: -1,
		owned: map[assign.Partition]bool{}, disk: map[assign.TaskID]int64{}, standby: map[assign.TaskID]bool{},
		version: version, capacity: int32(rapid.IntRange(1, 3).Draw(c.t, "capacity")),
	}
	c.procs = append(c.procs, p)
	return p
}

// member is what a process says when it joins, over the wire.
func (c *cluster) member(p *process) assign.Member {
	d := assign.Data{Capacity: p.capacity, Standbys: true, Subs: c.versions[p.version], Address: p.id + ":80"}
	for _, id := range slices.SortedFunc(maps.Keys(p.disk), compareTasks) {
		role := assign.Dormant
		switch {
		case slices.Contains(p.active, id):
			role = assign.Active
		case p.standby[id]:
			role = assign.Standby
		}
		d.Copies = append(d.Copies, assign.Copy{Task: id, Role: role, Position: p.disk[id]})
	}
	topics := c.topics(p.version)
	d, err := assign.DecodeData(assign.AppendData(nil, d, topics), topics)
	if err != nil {
		c.t.Fatal(err)
	}
	return assign.Member{
		ID: p.id, Instance: p.instance, Generation: p.generation, Topics: topics,
		Owned: slices.SortedFunc(maps.Keys(p.owned), comparePartitions), Data: d,
	}
}

func compareTasks(a, b assign.TaskID) int {
	return compareStrings(fmt.Sprint(a), fmt.Sprint(b))
}

func comparePartitions(a, b assign.Partition) int {
	return compareStrings(fmt.Sprint(a), fmt.Sprint(b))
}

func compareStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// round is a generation of the group: all who live join, the leader deals out, and
// each but those in missing sees its assignment, in an order of their own.
func (c *cluster) round(missing map[*process]bool) {
	c.generation++
	var members []assign.Member
	living := map[string]*process{}
	for _, p := range c.procs {
		switch {
		case p.alive:
			members = append(members, c.member(p))
			living[p.id] = p
			if p.instance != "" {
				c.stored[p.instance] = members[len(members)-1]
			}
		case p.instance != "":
			m := c.stored[p.instance] // its session lasts: the coordinator speaks for it
			if m.ID == p.id {
				members = append(members, m)
			}
		}
	}
	if len(living) == 0 {
		return
	}
	leader := living[c.leader]
	if leader == nil {
		ids := slices.Sorted(maps.Keys(living))
		leader = living[ids[rapid.IntRange(0, len(ids)-1).Draw(c.t, "leader")]]
		c.leader = leader.id
	}
	in := assign.Input{Members: members, Partitions: c.counts, Last: leader.heard, Config: c.cfg}
	plan := assign.Balance(in)
	c.followUp, c.warming, c.lastMoves = plan.FollowUp, plan.Warming, false
	c.answers = map[string]answer{}
	data := plan.Encode()
	for i, s := range plan.Shares {
		c.answers[s.ID] = answer{s.Partitions, data[i]}
	}
	for _, p := range living {
		p.generation = c.generation // kgo counts a generation from its join, not from its sync
	}
	order := rapid.Permutation(slices.Sorted(maps.Keys(living))).Draw(c.t, "order of syncs")
	for _, id := range order {
		if p := living[id]; !missing[p] {
			c.sync(p, c.answers[p.id])
		}
	}
}

// sync has a process see its assignment.
func (c *cluster) sync(p *process, a answer) {
	as, err := assign.DecodeAssignment(a.userData)
	if err != nil {
		c.t.Fatal(err)
	}
	p.heard = as.View
	next := map[assign.Partition]bool{}
	for _, part := range a.partitions {
		next[part] = true
	}
	for part := range p.owned {
		if !next[part] {
			delete(p.owned, part)
			c.lastMoves = true
		}
	}
	for part := range next {
		if p.owned[part] {
			continue
		}
		c.lastMoves = true
		for _, o := range c.procs {
			if o != p && o.alive && o.owned[part] {
				c.t.Fatalf("generation %d: %s gets %v while %s still has it", c.generation, p.id, part, o.id)
			}
		}
		p.owned[part] = true
	}
	c.runTasks(p)
	p.standby = map[assign.TaskID]bool{}
	for _, id := range slices.Concat(as.Standby, as.Warmup) {
		p.standby[id] = true
	}
	if as.Release && !c.lastMoves {
		c.followUp = true // see the adapter: it joins again
	}
}

// runTasks finds the tasks all of whose partitions a process has.
func (c *cluster) runTasks(p *process) {
	p.active = nil
	for _, s := range c.versions[p.version] {
		var n int32
		for _, topic := range s.Topics {
			n = max(n, c.counts[topic])
		}
		for num := range n {
			whole := true
			for _, topic := range s.Topics {
				whole = whole && (num >= c.counts[topic] || p.owned[assign.Partition{Topic: topic, Num: num}])
			}
			if id := (assign.TaskID{Sub: s.Name, Partition: num}); whole {
				p.active = append(p.active, id)
			}
		}
	}
}

// work lets time pass: active tasks write their changelogs, copies follow.
func (c *cluster) work() {
	c.head += 50_000
	for _, p := range c.procs {
		if !p.alive {
			continue
		}
		for _, s := range c.versions[p.version] {
			for _, id := range p.active {
				if id.Sub == s.Name && s.Stateful {
					p.disk[id] = c.head
				}
			}
			for id := range p.standby {
				if id.Sub == s.Name && s.Stateful {
					p.disk[id] = c.head
				}
			}
		}
	}
}

// die ends a process. A dynamic member's session ends before the next round; a
// static one's only if long is set.
func (c *cluster) die(p *process, long bool) {
	p.alive = false
	if p.instance == "" || long {
		c.procs = slices.DeleteFunc(c.procs, func(o *process) bool { return o == p })
		delete(c.stored, p.instance)
	}
}

// comeBack starts a static member anew, in the place of the one that died: without a
// round it gets what the coordinator has stored for it.
func (c *cluster) comeBack(old *process, version int) {
	c.procs = slices.DeleteFunc(c.procs, func(o *process) bool { return o == old })
	p := c.start(old.instance, version)
	p.disk, p.capacity = old.disk, old.capacity
	a, known := c.answers[old.id]
	if old.version != version || !known {
		c.round(nil)
		return
	}
	if c.leader == old.id {
		c.leader = p.id
	}
	delete(c.answers, old.id)
	c.answers[p.id] = a
	joined := c.member(p)
	joined.ID = p.id
	c.stored[p.instance] = joined
	p.generation = c.generation
	c.sync(p, a)
	as, _ := assign.DecodeAssignment(a.userData)
	c.followUp = c.followUp || as.Release
}

func newCluster(t *rapid.T) *cluster {
	c := &cluster{t: t, counts: map[string]int32{}, stored: map[string]assign.Member{}, answers: map[string]answer{}}
	stateful := rapid.Bool().Draw(t, "stateful")
	var v1, v2 []assign.Sub
	for i := range rapid.IntRange(1, 4).Draw(t, "subs") {
		a, b := fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i)
		c.counts[a], c.counts[b] = int32(rapid.IntRange(1, 6).Draw(t, "n")), int32(rapid.IntRange(1, 6).Draw(t, "n"))
		joined := assign.Sub{Name: a, Topics: []string{a, b}, Stateful: stateful}
		apart := []assign.Sub{{Name: a, Topics: []string{a}, Stateful: stateful}, {Name: b, Topics: []string{b}}}
		switch rapid.IntRange(0, 3).Draw(t, "change") {
		case 0: // the upgrade changes nothing here
			v1, v2 = append(v1, joined), append(v2, joined)
		case 1: // it cuts a sub-topology in two
			v1, v2 = append(v1, joined), append(v2, apart...)
		case 2: // it makes one of two
			v1, v2 = append(v1, apart...), append(v2, joined)
		case 3: // it has one more
			v1, v2 = append(v1, apart[0]), append(v2, apart...)
		}
	}
	c.versions = [][]assign.Sub{v1, v2}
	c.cfg = assign.Config{
		Replicas: rapid.IntRange(0, 2).Draw(t, "replicas"),
		Warmups:  rapid.IntRange(0, 2).Draw(t, "warmups"),
	}
	return c
}

// event lets something happen.
func (c *cluster) event() {
	var living, away []*process
	for _, p := range c.procs {
		if p.alive {
			living = append(living, p)
		} else {
			away = append(away, p)
		}
	}
	pick := func(from []*process) *process {
		return from[rapid.IntRange(0, len(from)-1).Draw(c.t, "who")]
	}
	switch k := rapid.IntRange(0, 9).Draw(c.t, "event"); {
	case k == 0 && len(living) < 6:
		c.start("", rapid.IntRange(0, 1).Draw(c.t, "version"))
		c.round(nil)
	case k == 1 && len(living) < 6:
		c.start(fmt.Sprintf("i%d", c.born), rapid.IntRange(0, 1).Draw(c.t, "version"))
		c.round(nil)
	case k == 2 && len(living) > 1:
		c.die(pick(living), true)
		c.round(nil)
	case k == 3 && len(living) > 1:
		c.die(pick(living), false) // of a static one nobody learns
	case k == 4 && len(away) > 0:
		old := pick(away)
		c.comeBack(old, old.version)
	case k == 5 && len(away) > 0:
		c.comeBack(pick(away), 1)
	case k == 6 && len(living) > 0:
		c.round(map[*process]bool{pick(living): true}) // it misses its assignment
	case k == 7 && len(away) > 0:
		c.die(pick(away), true)
		c.round(nil)
	case k == 8:
		c.work()
	default:
		c.round(nil)
	}
}

func TestNoPartitionEverHasTwoOwnersAndRoundsEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCluster(t)
		c.start("", 0)
		c.round(nil)
		for range rapid.IntRange(1, 25).Draw(t, "events") {
			c.event()
		}
		for _, p := range slices.Clone(c.procs) { // now all of one version, and there
			if !p.alive {
				c.comeBack(p, 1)
			} else {
				p.version = 1
			}
		}
		c.round(nil)
		rounds := 0
		for c.followUp || c.warming || c.lastMoves {
			if rounds++; rounds > 60 {
				t.Fatalf("the rounds do not end: follow-up %v, warming %v", c.followUp, c.warming)
			}
			c.work()
			c.round(nil)
		}
		if c.cfg.Warmups == 0 && rounds > 4 {
			t.Fatalf("%d rounds to come to rest", rounds)
		}
		c.checkSettled()
	})
}

// checkSettled says what is missing once all is quiet.
func (c *cluster) checkSettled() {
	by := map[assign.Partition]string{}
	for _, p := range c.procs {
		for part := range p.owned {
			if o, ok := by[part]; ok {
				c.t.Fatalf("%v is owned by %s and %s", part, o, p.id)
			}
			by[part] = p.id
		}
	}
	for _, s := range c.versions[1] {
		for _, topic := range s.Topics {
			for num := range c.counts[topic] {
				part := assign.Partition{Topic: topic, Num: num}
				if _, ok := by[part]; !ok {
					c.t.Fatalf("nobody has %v", part)
				}
				delete(by, part)
			}
		}
	}
	if len(by) > 0 {
		c.t.Fatalf("%v is owned, but no task needs it", by)
	}
}
