// SPDX-License-Identifier: Apache-2.0

// Package assign deals the tasks of an application out to the members of its
// group. It is a core: what it answers depends on nothing but its input, not on
// the order of members, maps or time, so that any member can lead the group.
//
// What is assigned are tasks, not partitions: all partitions p of the topics that
// a sub-topology reads go to one member. [Balance] works in steps, a file each:
//
//	layout   which sub-topologies there are (members may run different versions)
//	claims   who owns what, and who has state of what
//	quota    how many tasks of each sub-topology a member may have: balance
//	spread   how many it gets, so that the fewest tasks move: a min-cost flow
//	place    which ones
//	warm     tasks whose state is elsewhere stay there until it is copied (KIP-441)
//	standby  where copies of state are kept
//	settle   what moves is released first, and assigned in the next round (KIP-429)
package assign

import (
	"cmp"
	"slices"
)

// A TaskID names a task: a sub-topology and a partition.
type TaskID struct {
	Sub       string
	Partition int32
}

// A Partition is one partition of a source topic.
type Partition struct {
	Topic string
	Num   int32
}

// A Sub is a sub-topology as a member's program has it.
type Sub struct {
	Name     string   // unique in its topology
	Topics   []string // its source topics, repartition topics among them
	Patterns []string // of the names of further source topics, as the program writes them
	Matched  []string // the topics that match them, as far as the member knows
	Stateful bool     // it has stores that are costly to bring elsewhere
}

// A Role is what a member does with a task's state.
type Role uint8

// The roles, from little to much.
const (
	Dormant Role = iota // it lies on disk
	Standby             // it is kept up to date from the changelogs
	Active              // the task runs here, or is being restored to
)

// A Copy is a task's state at a member.
type Copy struct {
	Task TaskID
	Role Role
	// Position is the sum of the next offsets of the task's changelogs up to which
	// the copy is complete, -1 if it is not known. How far copies are behind is told
	// by comparing them, so that no end offset must be asked for.
	Position int64
}

// Data is what a member says of itself when it joins: the user data of its
// subscription.
type Data struct {
	ClientID string // for logs
	Address  string // host:port for queries, "" if it answers none
	Rack     string // where it stands, "" if it does not say
	Capacity int32  // how much it can do beside the others: its workers; 1 if less
	Standbys bool   // it can keep copies up to date
	Subs     []Sub
	Copies   []Copy
}

// A Member is one member of the group as the leader sees it.
type Member struct {
	ID         string
	Instance   string // static membership's id, "" for a dynamic member
	Generation int32  // the last that it took part in, -1 for none
	Topics     []string
	Owned      []Partition // what it has not released
	Data       Data
}

// Config says how tasks are dealt out. The zero value of a field means the
// default in its comment.
type Config struct {
	Replicas int // 0: copies of each stateful task beside the active one
	// Warmups is how many tasks may be copied at a time before they move. 0: none
	// is; a task with state moves at once and is restored at its new place.
	Warmups int
	// AcceptableLag is how far, in records, a copy may be behind to take a task
	// over. 10000, as Kafka Streams has it.
	AcceptableLag int64
}

// Input is what [Balance] works on.
type Input struct {
	Members    []Member         // in any order
	Partitions map[string]int32 // how many each topic has
	// Last is what the leader knows of the last assignment: static members that
	// were restarted find their tasks by it. It may be empty.
	Last   View
	Config Config
}

// A Plan is what one round of the group assigns.
type Plan struct {
	Shares []Share // of each member, in order of IDs
	// FollowUp says that tasks wait for a member to release them: another round is
	// due when it has.
	FollowUp bool
	// Warming says that tasks will move when their state is copied: another round is
	// due then.
	Warming bool
	View    View // what all are told of all
	// Unserved are topics that nobody reads in this round because the members'
	// programs differ in who should, in order.
	Unserved []string
}

// A Share is what one member gets. The lists are in order.
type Share struct {
	ID         string
	Active     []TaskID    // tasks to run, all of whose partitions are its
	Partitions []Partition // all that it may read, and no partition that another still owns
	Standby    []TaskID    // tasks to keep a copy of
	Warmup     []TaskID    // tasks to copy because they are to move here
	Heard      uint64      // MatchedHash of what it has said
	Release    bool        // others wait for partitions that it owns and that are not among these
}

const defaultAcceptableLag = 10_000

// Balance deals the tasks out.
func Balance(in Input) Plan {
	if in.Config.AcceptableLag <= 0 {
		in.Config.AcceptableLag = defaultAcceptableLag
	}
	p := newProblem(in)
	if len(p.members) == 0 {
		return Plan{}
	}
	p.place(p.spread())
	p.warm()
	p.standby()
	plan := p.settle()
	slices.SortFunc(plan.Shares, func(a, b Share) int { return cmp.Compare(a.ID, b.ID) })
	return plan
}

// problem is the input by numbers. Members are in an order that survives their
// restart if they are static, tasks in order of sub-topology and partition.
type problem struct {
	cfg      Config
	members  []Member
	subs     []layout
	tasks    []task
	claims   map[Partition][]int // members that own a partition
	unserved []string
	warming  bool
}

// A task on its way through the steps. Members are numbers, -1 for none.
type task struct {
	id     TaskID
	sub    int
	parts  []Partition
	owner  int      // has it
	home   int      // nobody has it, and this one is best prepared for it
	copies []holder // in order of members
	active int      // gets it
	warmup int      // is to get it once it has a copy
	spare  []int    // keep copies
}

// A holder is a member with a copy that is lag records behind the best one.
type holder struct {
	member int
	role   Role
	lag    int64
}

// unknownLag is that of a copy that does not say how far it is.
const unknownLag = int64(1) << 62

func newProblem(in Input) *problem {
	p := &problem{cfg: in.Config}
	p.members = slices.Clone(in.Members)
	slices.SortFunc(p.members, func(a, b Member) int {
		return cmp.Or(-boolCompare(a.Instance != "", b.Instance != ""), cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.ID, b.ID))
	})
	p.members = slices.CompactFunc(p.members, func(a, b Member) bool { return a.ID == b.ID })
	for i := range p.members {
		d := &p.members[i].Data
		d.Capacity = min(max(d.Capacity, 1), maxCapacity)
	}
	p.lay(in.Partitions)
	p.claim(in.Last)
	return p
}

// maxCapacity keeps one member's claim of its size from taking all, and products in range.
const maxCapacity = 1 << 12

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func (p *problem) capacity(m int) int { return int(p.members[m].Data.Capacity) }

// copyAt finds a member's copy.
func (t *task) copyAt(m int) (holder, bool) {
	for _, h := range t.copies {
		if h.member == m {
			return h, true
		}
	}
	return holder{}, false
}

func (a TaskID) compare(b TaskID) int {
	return cmp.Or(cmp.Compare(a.Sub, b.Sub), cmp.Compare(a.Partition, b.Partition))
}

func (a Partition) compare(b Partition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Num, b.Num))
}
