// SPDX-License-Identifier: Apache-2.0

// Package testdriver runs a topology in a test: records are piped in one at a
// time, each is processed with all that follows from it before the call returns,
// and outputs and stores can be looked at. There is no broker and no goroutine, and
// the clock is turned by hand; every topic has one partition.
//
//	d := testdriver.New(t, topology)
//	d.Pipe(Lines, processor.Record[topic.NoKey, string]{Value: "to be"})
//	r, ok := d.Read(Counts)
package testdriver

import (
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/topic"
)

// TB is what the driver needs of a *testing.T or *testing.B.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// A Driver runs one topology. It belongs to one goroutine.
type Driver struct {
	tb      TB
	cfg     processor.Config
	backend state.Backend
	dbs     []state.DB
	plan    *plan.Plan
	subs    map[*plan.Sub]*runtime.Task
	tasks   []*runtime.Task
	topics  map[string]*log
	pending []piece
	now     int64 // the time of day, in ms since the Unix epoch
}

// A log is a topic as the driver keeps it.
type log struct {
	task    *runtime.Task // that reads it, if one does
	global  bool          // it is that of a global table
	records []plan.Raw
	read    int // how many Read has given
}

// A piece is a record on its way to a task.
type piece struct {
	topic string
	raw   plan.Raw
}

// New builds t's tasks. What is wrong with the topology ends the test. Of a
// configuration, if one is given, the policies for errors count, and the stores,
// which are in memory without it; the caller closes those that it gives. The driver
// is closed by the test's Cleanup. Its time of day begins at 0.
func New(tb TB, t *processor.Topology, cfg ...processor.Config) *Driver {
	tb.Helper()
	d := &Driver{tb: tb, topics: map[string]*log{}, subs: map[*plan.Sub]*runtime.Task{}}
	for _, c := range cfg {
		d.cfg = c
	}
	d.backend = d.cfg.Stores
	if d.backend == nil {
		d.backend = state.Memory()
	}
	p, err := t.Graph().Build()
	if err != nil {
		tb.Fatalf("the topology is wrong:\n%v", err)
		return d
	}
	tb.Cleanup(d.close)
	d.plan = p
	for i, sub := range append(slices.Clone(p.Globals), p.Subs...) {
		if err := d.start(sub, i < len(p.Globals)); err != nil {
			tb.Fatalf("start the topology: %v", err)
			return d
		}
	}
	return d
}

func (d *Driver) start(sub *plan.Sub, global bool) error {
	db, err := d.backend.Open(sub.Name)
	if err != nil {
		return err
	}
	d.dbs = append(d.dbs, db)
	var stores []state.Store
	for _, def := range sub.Stores {
		base, err := db.Base(def.Name)
		if err != nil {
			return err
		}
		stores = append(stores, def.Open(base, state.Options{}))
	}
	task, err := runtime.NewTask(runtime.TaskConfig{
		Sub: sub, Stores: stores, Out: outputs{d}, Global: d.lookUp, Policies: d.cfg.Policies(),
		EmitInterval: d.cfg.EmitInterval.Milliseconds(),
		Pause:        func(ms int64) error { d.now += ms; return nil },
	})
	if err != nil {
		return err
	}
	d.tasks = append(d.tasks, task)
	d.subs[sub] = task
	for _, topic := range sub.Topics(nil) {
		d.log(topic).task, d.log(topic).global = task, global
	}
	return nil
}

func (d *Driver) close() {
	for _, t := range d.tasks {
		for _, s := range t.Stores() {
			d.check("close store", s.Close())
		}
	}
	for _, db := range d.dbs {
		d.check("close the stores", db.Close())
	}
	if d.cfg.Stores == nil {
		d.check("close the stores", d.backend.Close())
	}
}

func (d *Driver) check(doing string, err error) {
	if err != nil {
		d.tb.Helper()
		d.tb.Fatalf("%s: %v", doing, err)
	}
}

func (d *Driver) log(topic string) *log {
	l := d.topics[topic]
	if l == nil {
		l = &log{}
		d.topics[topic] = l
	}
	return l
}

// outputs are the ways out of the driver's tasks.
type outputs struct{ d *Driver }

func (o outputs) Output(topic string) plan.Output {
	return func(key, value []byte, timestamp int64, headers []plan.Header) error {
		return o.d.append(topic, plan.Raw{Key: slices.Clone(key), Value: slices.Clone(value), Headers: headers, Timestamp: timestamp})
	}
}

func (d *Driver) append(topic string, r plan.Raw) error {
	l, err := d.match(topic)
	if err != nil {
		return err
	}
	r.Offset = int64(len(l.records))
	l.records = append(l.records, r)
	if l.task != nil {
		d.pending = append(d.pending, piece{topic, r})
	}
	return nil
}

// match gives a topic's log, with the task that reads it. One that a pattern matches is
// met here for the first time.
func (d *Driver) match(topic string) (*log, error) {
	l := d.log(topic)
	if l.task != nil || !d.plan.HasPatterns() {
		return l, nil
	}
	m, overlaps := d.plan.Match([]string{topic})
	for _, o := range overlaps {
		return nil, fmt.Errorf("topic %q %s", o.Topic, o.Problem)
	}
	for _, sub := range d.plan.Subs {
		if !slices.Contains(sub.Topics(m), topic) {
			continue
		}
		if err := d.subs[sub].AddInput(topic, nil); err != nil {
			return nil, err
		}
		l.task = d.subs[sub]
	}
	return l, nil
}

// run processes what waits, and what comes of it, until nothing does.
func (d *Driver) run() error {
	for len(d.pending) > 0 {
		p := d.pending[0]
		d.pending = d.pending[1:]
		l := d.topics[p.topic]
		err := l.task.Process(p.topic, []plan.Raw{p.raw})
		if err == nil && l.global { // tasks see what is committed
			err = commit(l.task)
		}
		if err != nil {
			d.pending = nil
			return err
		}
	}
	return nil
}

// Pipe puts a record into an input topic and processes it with all that follows
// from it, through repartition topics too. A failure ends the test.
func (d *Driver) Pipe[K, V any](in topic.Topic[K, V], r processor.Record[K, V]) {
	d.tb.Helper()
	if err := d.TryPipe(in, r); err != nil {
		d.tb.Fatalf("pipe a record into %q: %v", in.Name(), err)
	}
}

// TryPipe is Pipe for a test of failures: it returns them. After one the
// topology has failed and is of no more use.
func (d *Driver) TryPipe[K, V any](in topic.Topic[K, V], r processor.Record[K, V]) error {
	keys, values := in.KeySerde(), in.ValueSerde()
	key, err := keys.Encode(r.Key)
	if err != nil {
		return fmt.Errorf("encode the key: %w", err)
	}
	value, err := values.Encode(r.Value)
	if err != nil {
		return fmt.Errorf("encode the value: %w", err)
	}
	return d.PipeBytes(in.Name(), processor.Record[[]byte, []byte]{Key: key, Value: value, Timestamp: r.Timestamp, Headers: r.Headers})
}

// PipeBytes pipes a record as the bytes of its key and value; nil is a null.
func (d *Driver) PipeBytes(in string, r processor.Record[[]byte, []byte]) error {
	if l, err := d.match(in); err != nil {
		return err
	} else if l.task == nil {
		return fmt.Errorf("no source of the topology reads topic %q", in)
	}
	if err := d.append(in, plan.Raw{Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp}); err != nil {
		return err
	}
	return d.run()
}

// AdvanceWallClock lets the time of day pass, and runs what is due by it, each
// punctuation once. Waits between tries of a record pass by themselves.
func (d *Driver) AdvanceWallClock(by time.Duration) {
	d.tb.Helper()
	d.now += by.Milliseconds()
	for _, t := range d.tasks {
		_, err := t.Punctuate(d.now)
		d.check("punctuate", err)
		d.check("punctuate", d.run())
	}
}

// StreamTime is the highest time of the records that the task reading a topic has
// seen, in ms since the Unix epoch, false before the first one.
func (d *Driver) StreamTime(in string) (ms int64, ok bool) {
	l := d.log(in)
	if l.task == nil || l.task.StreamTime() == runtime.NoTime {
		return 0, false
	}
	return l.task.StreamTime(), true
}

// Commit does what a commit of a running application does: results that wait
// for it are sent on and processed.
func (d *Driver) Commit() {
	d.tb.Helper()
	for _, t := range d.tasks {
		d.check("commit", commit(t))
		d.check("commit", d.run())
	}
}

func commit(t *runtime.Task) error {
	sealed, err := t.Seal()
	if err != nil {
		return err
	}
	return t.Commit(sealed, func(state.Store) state.Header { return state.Header{} })
}

// ReadBytes gives the next record of a topic as bytes, false if there is none.
// Each record of a topic is given once, by whichever Read.
func (d *Driver) ReadBytes(out string) (processor.Record[[]byte, []byte], bool) {
	l := d.log(out)
	if l.read == len(l.records) {
		return processor.Record[[]byte, []byte]{}, false
	}
	r := l.records[l.read]
	l.read++
	return processor.Record[[]byte, []byte]{Key: r.Key, Value: r.Value, Timestamp: r.Timestamp, Headers: r.Headers}, true
}

// Read gives the next record of a topic, false if there is none. A null that K
// or V cannot carry ends the test: read tombstones with a topic of opt.V values.
func (d *Driver) Read[K, V any](out topic.Topic[K, V]) (r processor.Record[K, V], ok bool) {
	d.tb.Helper()
	b, ok := d.ReadBytes(out.Name())
	if !ok {
		return r, false
	}
	keys, values := out.KeySerde(), out.ValueSerde()
	if b.Key == nil && !keys.Nullable() || b.Value == nil && !values.Nullable() {
		d.tb.Fatalf("read %q: a null, which a topic of opt.V can read", out.Name())
	}
	var err error
	r.Timestamp, r.Headers = b.Timestamp, b.Headers
	r.Key, err = keys.Decode(b.Key)
	d.check("decode a key of "+out.Name(), err)
	r.Value, err = values.Decode(b.Value)
	d.check("decode a value of "+out.Name(), err)
	return r, true
}

// ReadAll gives all records of a topic that were not read yet.
func (d *Driver) ReadAll[K, V any](out topic.Topic[K, V]) []processor.Record[K, V] {
	d.tb.Helper()
	var all []processor.Record[K, V]
	for r, ok := d.Read(out); ok; r, ok = d.Read(out) {
		all = append(all, r)
	}
	return all
}

// Dropped gives the number of records that operators dropped by their rules, by
// reason.
func (d *Driver) Dropped() map[string]int64 {
	sums := map[string]int64{}
	for _, t := range d.tasks {
		for drop, n := range t.Drops() {
			sums[drop.Reason] += n
		}
	}
	return sums
}
