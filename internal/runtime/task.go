// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"cmp"
	"fmt"
	"maps"
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
	stores  []state.Store // in the order of the plan
	byName  map[string]state.Store
	out     Outputs
	sources map[string][]input
	hooks   []hook
	drops   map[drop]int64
	times   map[string]*int64 // what operators have observed, by their names

	current    plan.Current
	next       map[string]Position // by topic
	streamTime int64
	records    int64
}

type input struct {
	node *plan.Node
	take plan.Input
}

type hook struct {
	node *plan.Node
	run  func() error
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
	// Stores are those of the sub-topology, open and restored. The task uses them;
	// they are closed by who opened them.
	Stores []state.Store
	Out    Outputs
}

// NewTask builds the nodes of a task, children first.
func NewTask(cfg TaskConfig) (*Task, error) {
	t := &Task{
		id:         TaskID{cfg.Sub.Name, cfg.Partition},
		stores:     cfg.Stores,
		byName:     map[string]state.Store{},
		out:        cfg.Out,
		sources:    map[string][]input{},
		drops:      map[drop]int64{},
		times:      map[string]*int64{},
		next:       map[string]Position{},
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
	if err := t.build(cfg.Sub.Nodes); err != nil {
		return nil, fmt.Errorf("task %s: %w", t.id, err)
	}
	return t, nil
}

func (t *Task) build(nodes []*plan.Node) error {
	entries := make(map[*plan.Node]any, len(nodes))
	for _, n := range slices.Backward(nodes) {
		outs := make([]any, len(n.Children))
		for i, c := range n.Children {
			outs[i] = entries[c]
		}
		if n.Kind == plan.Source {
			take, err := n.Input(env{t}, outs)
			if err != nil {
				return fmt.Errorf("%s: %w", describe(n), err)
			}
			t.sources[n.Topic] = append(t.sources[n.Topic], input{n, take})
			continue
		}
		entry, err := n.Make(env{t}, outs)
		if err != nil {
			return fmt.Errorf("%s: %w", describe(n), err)
		}
		entries[n] = entry
	}
	byID := func(a, b *plan.Node) int { return cmp.Compare(a.ID, b.ID) }
	slices.SortStableFunc(t.hooks, func(a, b hook) int { return byID(a.node, b.node) })
	for _, in := range t.sources {
		slices.SortFunc(in, func(a, b input) int { return byID(a.node, b.node) })
	}
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

// Process runs a batch of records of one of the task's topics, in order, each
// through all sources of the topic. An error, or a panic of user code, ends it
// with a *[RecordError]; the records before that one are processed.
func (t *Task) Process(topic string, batch []plan.Raw) (err error) {
	inputs := t.sources[topic]
	if len(inputs) == 0 {
		return fmt.Errorf("task %s: topic %q is not one of its inputs", t.id, topic)
	}
	t.current = plan.Current{Topic: topic, Partition: t.id.Partition}
	in := &inputs[0]
	defer func() {
		if v := recover(); v != nil {
			err = t.recordError(in.node, newPanic(v))
		}
		t.current.Raw = nil
	}()
	for i := range batch {
		r := &batch[i]
		t.current.Raw = r
		if r.Timestamp < 0 {
			return t.recordError(in.node, fmt.Errorf("timestamp %d is negative", r.Timestamp))
		}
		t.streamTime = max(t.streamTime, r.Timestamp)
		for j := range inputs {
			in = &inputs[j]
			if err := in.take(r); err != nil {
				return t.recordError(in.node, err)
			}
		}
		t.records++
	}
	if n := len(batch); n > 0 {
		last := &batch[n-1]
		t.next[topic] = Position{last.Offset + 1, last.Epoch}
	}
	return nil
}

func (t *Task) recordError(n *plan.Node, err error) error {
	e := &RecordError{Task: t.id, Topic: t.current.Topic, Partition: t.current.Partition, Node: describe(n), Err: err}
	if t.current.Raw != nil {
		e.Offset = t.current.Raw.Offset
	}
	return e
}

// A Sealed is what a task gives to a commit: the layers of its stores, in the
// order of the graph, and how far its inputs are.
type Sealed struct {
	Layers []SealedLayer       // of the stores that changed
	Next   map[string]Position // by topic, of those that brought records since the start of the task
}

// A SealedLayer is the changes of one store between two commits.
type SealedLayer struct {
	Store state.Store
	Layer *state.Layer
}

// Seal runs what is to run at a commit, in the order of the graph, and seals the
// stores. What operators send on in it is part of the commit. After an error the
// task is of no more use.
func (t *Task) Seal() (_ *Sealed, err error) {
	t.current = plan.Current{Partition: t.id.Partition}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("task %s: commit: %w", t.id, newPanic(v))
		}
	}()
	for _, h := range t.hooks {
		if err := h.run(); err != nil {
			return nil, fmt.Errorf("task %s: commit: %s: %w", t.id, describe(h.node), err)
		}
	}
	sealed := &Sealed{Next: maps.Clone(t.next)}
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

// StreamTime is the highest timestamp seen, in ms, NoTime before the first record.
func (t *Task) StreamTime() int64 { return t.streamTime }

// Records is the number of records processed.
func (t *Task) Records() int64 { return t.records }

// Drops gives the number of records dropped by the rules of operators.
func (t *Task) Drops() map[Drop]int64 {
	drops := make(map[Drop]int64, len(t.drops))
	for d, n := range t.drops {
		drops[Drop{describe(d.node), d.reason}] = n
	}
	return drops
}

// env is what nodes see of their task.
type env struct{ t *Task }

var _ plan.Env = env{}

func (e env) Store(name string) state.Store { return e.t.byName[name] }

func (e env) Output(sink *plan.Node) plan.Output { return e.t.out.Output(sink.Topic) }

func (e env) Current() *plan.Current { return &e.t.current }

func (e env) Observed(n *plan.Node) *int64 {
	at := e.t.times[n.Name]
	if at == nil {
		at = new(int64)
		*at = plan.NoTime
		e.t.times[n.Name] = at
	}
	return at
}

func (e env) Drop(n *plan.Node, reason string) { e.t.drops[drop{n, reason}]++ }

func (e env) AtCommit(n *plan.Node, fn func() error) {
	e.t.hooks = append(e.t.hooks, hook{n, fn})
}
