// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/state"
)

// lives is the one task of a topology with one input, which commits and crashes: it goes
// on from the last commit, with a base that is as old as that or must be restored from
// the changelogs. What it wrote since the commit is taken back, as in a transaction.
type lives struct {
	t       *testing.T
	rnd     *rand.Rand
	at      func(dir string) state.Backend
	plan    *plan.Plan
	dir     string
	backend state.Backend
	db      state.DB
	stores  []state.Store
	task    *runtime.Task

	input     []plan.Raw
	next      int // of input
	logs      map[string][]state.Change
	committed runtime.Origin
	outs      []lifeOut
	kept      int // of outs
}

type lifeOut struct {
	step int // of the input record
	plan.Raw
}

func newLives(t *testing.T, rnd *rand.Rand, at func(dir string) state.Backend, top *processor.Topology, input []plan.Raw) *lives {
	t.Helper()
	p, err := top.Graph().Build()
	if err != nil {
		t.Fatal(err)
	}
	for i := range input {
		input[i].Offset = int64(i)
	}
	l := &lives{
		t: t, rnd: rnd, at: at, plan: p, dir: t.TempDir(), input: input,
		logs: map[string][]state.Change{}, committed: runtime.Origin{Position: runtime.Position{Offset: -1, Epoch: -1}},
	}
	l.start()
	return l
}

func (l *lives) must(err error) {
	if err != nil {
		l.t.Helper()
		l.t.Fatal(err)
	}
}

func (l *lives) header(s state.Store) state.Header {
	return state.Header{
		Changelog: s.Name(), Position: int64(len(l.logs[s.Name()])), LeaderEpoch: state.NoEpoch,
		Kind: s.Kind(), Serdes: s.Serdes(), Format: state.Format,
	}
}

func (l *lives) start() {
	l.t.Helper()
	var err error
	l.backend = l.at(l.dir)
	l.db, err = l.backend.Open("task")
	l.must(err)
	l.stores = nil
	sub := l.plan.Subs[0]
	o := state.Options{CacheBytes: []int64{1, 1 << 20}[l.rnd.IntN(2)], ApplyBytes: []int64{1, 1 << 20}[l.rnd.IntN(2)]}
	for _, def := range sub.Stores {
		base, err := l.db.Base(def.Name)
		l.must(err)
		s := def.Open(base, o)
		h, _, err := base.Header()
		l.must(err)
		l.must(s.Restore(l.logs[def.Name][h.Position:], l.header(s)))
		l.must(s.Restored())
		l.stores = append(l.stores, s)
	}
	cfg := runtime.TaskConfig{Sub: sub, Stores: l.stores, Out: l}
	if l.committed.Offset >= 0 {
		cfg.Start = map[string]runtime.Origin{sub.Name: l.committed}
	}
	l.task, err = runtime.NewTask(cfg)
	l.must(err)
}

// Output implements runtime.Outputs.
func (l *lives) Output(string) plan.Output {
	return func(key, value []byte, timestamp int64, headers []plan.Header) error {
		l.outs = append(l.outs, lifeOut{l.next, plan.Raw{
			Key: slices.Clone(key), Value: slices.Clone(value), Headers: headers, Timestamp: timestamp,
		}})
		return nil
	}
}

// run processes all input, with commits and crashes in between.
func (l *lives) run() []lifeOut {
	l.t.Helper()
	for l.next < len(l.input) {
		switch l.rnd.IntN(12) {
		case 0, 1:
			l.commit()
		case 2:
			l.crash()
		default:
			l.must(l.task.Process(l.plan.Subs[0].Name, l.input[l.next:l.next+1]))
			l.next++
		}
	}
	l.commit()
	l.stop()
	return l.outs
}

func (l *lives) commit() {
	l.t.Helper()
	sealed, err := l.task.Seal()
	l.must(err)
	for _, layer := range sealed.Layers {
		name := layer.Store.Name()
		l.must(layer.Layer.Each(func(c state.Change) error {
			l.logs[name] = append(l.logs[name], state.Change{Key: slices.Clone(c.Key), Value: slices.Clone(c.Value), Timestamp: c.Timestamp})
			return nil
		}))
	}
	for topic, pos := range sealed.Next {
		l.committed = runtime.Origin{Position: pos, Metadata: sealed.Metadata[topic]}
	}
	l.must(l.task.Commit(sealed, l.header))
	l.kept = len(l.outs)
}

func (l *lives) crash() {
	l.t.Helper()
	l.task.Discard()
	l.stop()
	if l.rnd.IntN(2) == 0 {
		l.dir = l.t.TempDir() // the base is lost
	}
	l.next, l.outs = int(max(l.committed.Offset, 0)), l.outs[:l.kept]
	l.start()
}

func (l *lives) stop() {
	l.t.Helper()
	var errs []error
	for _, s := range l.stores {
		errs = append(errs, s.Close())
	}
	l.must(errors.Join(append(errs, l.db.Close(), l.backend.Close())...))
}

// seeded gives a random source whose seed is told if the test fails, and which SEED in
// the environment sets.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("SEED=%d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}
