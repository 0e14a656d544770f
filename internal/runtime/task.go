// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/state"
)

// A TaskID names a task: the sub-topology and the partition of its inputs.
type TaskID struct {
	Sub       string
	Partition int32
}

// String gives the id as folders and logs have it: lines-3.
func (id TaskID) String() string { return fmt.Sprintf("%s-%d", id.Sub, id.Partition) }

// Outputs opens the ways out of a task.
type Outputs interface {
	// Output gives the way to a topic. It is called once a sink and task.
	Output(topic string) plan.Output
}

// PartitionedOutputs are [Outputs] whose topics have partitions to choose from; others
// have one each.
type PartitionedOutputs interface {
	Outputs
	// Partitions is the number of partitions that a topic had at the start.
	Partitions(topic string) int32
	// OutputAt gives the way to one of them.
	OutputAt(topic string, partition int32) plan.Output
}

// A Position is a place in a partition's log: the next offset, and the leader epoch
// of the record before it, -1 if unknown.
type Position struct {
	Offset int64
	Epoch  int32
}

// NoTime is the stream time of a task that has seen no record.
const NoTime = plan.NoTime

// A Task runs the nodes of a sub-topology over one partition. It is a core: it
// starts no goroutine, reads no clock and does no I/O but that of its stores and
// outputs. It belongs to one goroutine at a time.
type Task struct {
	id      TaskID
	cfg     TaskConfig
	stores  []state.Store // in the order of the plan
	byName  map[string]state.Store
	nodes   map[int32]*plan.Node
	outs    map[*plan.Node][]any // of sources: the entries of their children
	inputs  []*input             // in the order of their first sources, those of a pattern in order of their names
	byTopic map[string]*input
	hooks   []hook
	timed   []timed
	drops   map[drop]int64
	dropped int64                  // all of them
	times   map[string]*int64      // what operators have observed, by their names
	found   map[uint64]int64       // the same, and stores' times, as committed, by the hashes of names
	resumed bool                   // found is what a task of ours has committed
	fresh   bool                   // nothing was ever committed
	dead    map[string]plan.Output // ways to topics of dead letters

	current                  plan.Current
	at                       int32 // the node whose user code runs, as far as nodes tell
	src                      int   // which source of its topic has the record in hand
	now                      int64 // the time of day, as the owner told it last
	streamTime               int64
	idle                     spell
	records                  int64
	building                 bool
	streamPuncts, wallPuncts punctuations
}

type hook struct {
	node *plan.Node
	run  func() error
}

type timed struct {
	node *plan.Node
	run  func(streamTime int64) error
}

// A Drop says what was dropped: where, and for which reason.
type Drop struct {
	Node   string // what it does, its name and its place
	Reason string
}

// drop is a Drop before its node is described: records may be dropped often.
type drop struct {
	node   *plan.Node
	reason string
}

// TaskConfig is what a task is made of.
type TaskConfig struct {
	Sub       *plan.Sub
	Partition int32
	// Matches are the topics of the sub-topology's patterns that have this partition.
	Matches plan.Matches
	// Stores are those of the sub-topology, open and restored. The task uses them;
	// they are closed by who opened them.
	Stores []state.Store
	Out    Outputs
	// Start is where the inputs stand, by topic, those that have a committed offset.
	Start map[string]Origin
	// Now is the time of day, in ms since the Unix epoch.
	Now int64

	// Global gives the global stores by name. Nil: there are none.
	Global func(name string) state.Store
	// EmitInterval is that of [plan.Env].
	EmitInterval int64

	// Policies are the application's for records that fail.
	Policies plan.Policies
	// Pause waits before a record is tried again, and fails when the task is to end.
	// Without it no time is waited.
	Pause func(ms int64) error
	// Report is told of each record that a policy went on without.
	Report func(*RecordError)

	// MaxIdle is how long, in ms, the task waits for data of an input that has none,
	// to keep the inputs' records in the order of time: 0 waits only for data that
	// the broker is known to have, -1 for nothing.
	MaxIdle int64
	// SourceIdleness is for how long, in ms, all inputs must be known to have nothing
	// new for stream time to go on without records. 0: it never does.
	SourceIdleness int64
	// ConfirmEvery is the longest time, in ms, between two confirmations of an input's
	// end for the time between them to count as idle.
	ConfirmEvery int64
}

// NewTask builds the nodes of a task, children first.
func NewTask(cfg TaskConfig) (*Task, error) {
	t := &Task{
		id: TaskID{cfg.Sub.Name, cfg.Partition}, cfg: cfg,
		stores:     cfg.Stores,
		byName:     map[string]state.Store{},
		nodes:      map[int32]*plan.Node{},
		outs:       map[*plan.Node][]any{},
		byTopic:    map[string]*input{},
		drops:      map[drop]int64{},
		times:      map[string]*int64{},
		found:      map[uint64]int64{},
		dead:       map[string]plan.Output{},
		current:    plan.Current{Partition: cfg.Partition},
		now:        cfg.Now,
		streamTime: NoTime,
	}
	for _, s := range cfg.Stores {
		t.byName[s.Name()] = s
	}
	for _, def := range cfg.Sub.Stores {
		if t.byName[def.Name] == nil {
			return nil, fmt.Errorf("task %s: store %q is not open", t.id, def.Name)
		}
	}
	for _, topic := range cfg.Sub.Topics(cfg.Matches) {
		t.addInput(topic)
	}
	t.fresh = len(cfg.Start) == 0
	t.takeUp(cfg.Start)
	t.resume()
	if err := t.build(cfg.Sub.Nodes); err != nil {
		return nil, fmt.Errorf("task %s: %w", t.id, err)
	}
	if n := len(t.times) + len(t.timedStores()); n > maxObserved {
		return nil, fmt.Errorf("task %s: %d operators and stores keep a time of their own, more than %d in one sub-topology", t.id, n, maxObserved)
	}
	return t, nil
}

func (t *Task) build(nodes []*plan.Node) error {
	t.building = true
	defer func() { t.building = false }()
	entries := make(map[*plan.Node]any, len(nodes))
	for _, n := range slices.Backward(nodes) {
		t.nodes[int32(n.ID)] = n
		outs := make([]any, len(n.Children))
		for i, c := range n.Children {
			outs[i] = entries[c]
		}
		if n.Kind == plan.Source {
			t.outs[n] = outs
			continue
		}
		var err error
		if entries[n], err = n.Make(env{t}, outs); err != nil {
			return fmt.Errorf("%s: %w", describe(n), err)
		}
	}
	for _, in := range t.inputs {
		if err := t.buildInput(in); err != nil {
			return err
		}
	}
	byID := func(a, b *plan.Node) int { return cmp.Compare(a.ID, b.ID) }
	slices.SortStableFunc(t.hooks, func(a, b hook) int { return byID(a.node, b.node) })
	slices.SortStableFunc(t.timed, func(a, b timed) int { return byID(a.node, b.node) })
	return nil
}

// describe names a node in errors: what it does, its name, its place.
func describe(n *plan.Node) string {
	s := n.Op
	if n.Name != "" {
		s += fmt.Sprintf(" %q", n.Name)
	}
	if n.Site != "" {
		s += " at " + n.Site
	}
	return s
}

// ID is the task's name.
func (t *Task) ID() TaskID { return t.id }

// A Sealed is what a task gives to a commit: the layers of its stores, in the
// order of the graph, and how far its inputs are.
type Sealed struct {
	Layers []SealedLayer       // of the stores that changed
	Next   map[string]Position // by topic, of those that were read, by this task or before
	// Metadata is what the task knows of time, to be committed with the offsets.
	Metadata map[string]string // by topic
}

// A SealedLayer is the changes of one store between two commits.
type SealedLayer struct {
	Store state.Store
	Layer *state.Layer
}

// Seal runs what is to run at a commit, in the order of the graph, and seals the
// stores. What operators send on in it is part of the commit. After an error the
// task is of no more use.
func (t *Task) Seal() (*Sealed, error) {
	t.current = plan.Current{Partition: t.id.Partition}
	for _, h := range t.hooks {
		if err := t.run(h.node, h.run); err != nil {
			return nil, fmt.Errorf("task %s: commit: %w", t.id, err)
		}
	}
	sealed := &Sealed{Next: map[string]Position{}, Metadata: map[string]string{}}
	for _, in := range t.inputs {
		if in.next.Offset >= 0 {
			sealed.Next[in.topic] = in.next
			sealed.Metadata[in.topic] = t.metadata(in)
		}
	}
	for _, s := range t.stores {
		l, err := s.Seal()
		if err != nil {
			return nil, fmt.Errorf("task %s: seal store %q: %w", t.id, s.Name(), err)
		}
		if l != nil {
			sealed.Layers = append(sealed.Layers, SealedLayer{s, l})
		}
	}
	return sealed, nil
}

// Commit hands sealed layers to their stores' bases, once they are acknowledged in
// the changelogs and the offsets are committed. header gives the header that goes
// with a store's layer.
func (t *Task) Commit(sealed *Sealed, header func(s state.Store) state.Header) error {
	for _, l := range sealed.Layers {
		if err := l.Store.Commit(l.Layer, header(l.Store)); err != nil {
			return fmt.Errorf("task %s: commit store %q: %w", t.id, l.Store.Name(), err)
		}
	}
	return nil
}

// Discard drops what was not committed: the stores are as after the last Commit.
func (t *Task) Discard() {
	for _, s := range t.stores {
		s.Discard()
	}
}

// Stores gives the stores, in the order of the graph.
func (t *Task) Stores() []state.Store { return t.stores }

// Store gives a store by name, nil if the task has none of that name.
func (t *Task) Store(name string) state.Store { return t.byName[name] }

// DirtyBytes is the memory of what is not committed.
func (t *Task) DirtyBytes() int64 {
	var sum int64
	for _, s := range t.stores {
		dirty, _ := s.Bytes()
		sum += dirty
	}
	return sum
}

// StateBytes is the memory of what is not committed, and of what is kept to answer
// reads.
func (t *Task) StateBytes() (dirty, cached int64) {
	for _, s := range t.stores {
		d, c := s.Bytes()
		dirty, cached = dirty+d, cached+c
	}
	return dirty, cached
}

// StreamTime is the highest time of the records seen, by this task or before, in
// ms, NoTime before the first record.
func (t *Task) StreamTime() int64 { return t.streamTime }

// drop counts a record.
func (t *Task) drop(n *plan.Node, reason string) {
	t.drops[drop{n, reason}]++
	t.dropped++
}

// Records is the number of records processed.
func (t *Task) Records() int64 { return t.records }

// Dropped is the number of records dropped by the rules of operators, all together.
func (t *Task) Dropped() int64 { return t.dropped }

// Drops gives the number of records dropped by the rules of operators.
func (t *Task) Drops() map[Drop]int64 {
	drops := make(map[Drop]int64, len(t.drops))
	for d, n := range t.drops {
		drops[Drop{describe(d.node), d.reason}] = n
	}
	return drops
}
