// SPDX-License-Identifier: Apache-2.0

package statetest

import (
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/state"
)

// A life is a store on its way through commits and crashes, beside a model M of
// what it holds. A model never changes but through clone and what the test does
// with now.
type life[M any] struct {
	rig   Rig
	rnd   *rand.Rand
	opt   state.Options
	open  func(base state.Base, opt state.Options) state.Store // keeps the typed store too
	clone func(M) M
	// check compares the changes of a sealed layer with the model.
	check func(t *testing.T, got []state.Change)
	// resume is told that the store was restored, to a changelog that ends with
	// records that were not committed, perhaps none; it brings now up to them.
	resume func(t *testing.T, tail []state.Change)

	task      task
	base      state.Base
	store     state.Store
	now       M // with the open layer
	before    M // after the last Seal
	committed M // after the last Commit
	sealed    []sealedLife[M]
	changelog []state.Change // with those of layers that are not committed
	end       int            // of the committed part
}

type sealedLife[M any] struct {
	layer *state.Layer
	held  M
	end   int // of its changes in the changelog
}

func (l *life[M]) begin(t *testing.T, m M) {
	t.Helper()
	l.opt = state.Options{
		CacheBytes:   []int64{1, 2 << 10, 8 << 10, 1 << 20}[l.rnd.IntN(4)],
		ApplyBytes:   []int64{1, 2 << 10, 1 << 20}[l.rnd.IntN(3)],
		RestoreBytes: []int64{1, 4 << 10, 1 << 20}[l.rnd.IntN(3)],
	}
	if l.rnd.IntN(3) == 0 {
		l.opt.Budget = state.NewBudget(64 << 10)
	}
	l.now, l.before, l.committed = l.clone(m), l.clone(m), l.clone(m)
	l.task = l.rig.open(t, t.TempDir())
	l.reopen(t)
}

func (l *life[M]) finish(t *testing.T) {
	t.Helper()
	must(t, l.store.Close())
	l.task.close(t)
}

// step does one of the things that all stores have in common.
func (l *life[M]) step(t *testing.T) {
	t.Helper()
	switch op := l.rnd.IntN(22); {
	case op < 7:
		l.seal(t)
	case op < 14:
		l.commit(t)
	case op < 15:
		l.store.Discard()
		l.back()
	case op < 17:
		must(t, l.store.Flush())
		if n := l.store.Unflushed(); n != 0 {
			t.Fatalf("%d bytes unflushed after a flush", n)
		}
	case op < 19:
		l.store.Shrink(0)
		if dirty, cached := l.store.Bytes(); cached != 0 || dirty < 0 {
			t.Fatalf("after Shrink(0) Bytes = %d, %d", dirty, cached)
		}
	case op < 21:
		l.restart(t)
	default:
	}
}

func (l *life[M]) seal(t *testing.T) {
	t.Helper()
	layer, err := l.store.Seal()
	must(t, err)
	var got []state.Change
	if layer != nil {
		must(t, layer.Each(func(c state.Change) error {
			got = append(got, c)
			return nil
		}))
		if layer.Len() != len(got) {
			t.Fatalf("Len = %d, and %d changes", layer.Len(), len(got))
		}
	}
	l.check(t, got)
	l.before = l.clone(l.now)
	if layer == nil {
		return
	}
	l.changelog = append(l.changelog, got...)
	l.sealed = append(l.sealed, sealedLife[M]{layer, l.before, len(l.changelog)})
}

func (l *life[M]) commit(t *testing.T) {
	t.Helper()
	if len(l.sealed) == 0 {
		must(t, l.store.Commit(nil, header(int64(l.end))))
		return
	}
	oldest := l.sealed[0]
	must(t, l.store.Commit(oldest.layer, header(int64(oldest.end))))
	l.sealed, l.committed, l.end = l.sealed[1:], oldest.held, oldest.end
}

// back takes the model to the last commit.
func (l *life[M]) back() {
	l.sealed = nil
	l.now, l.before = l.clone(l.committed), l.clone(l.committed)
	l.changelog = l.changelog[:l.end]
}

// restart loses what a crash loses, and restores from the changelog. The crash may
// come at any step of a commit: after some of the records of the layers were
// written (transactions take those back, without them they stay), before the
// store was told of the commit, before the base was, before it was flushed.
func (l *life[M]) restart(t *testing.T) {
	t.Helper()
	switch l.rnd.IntN(5) {
	case 0:
		must(t, l.store.Close())
		l.task.close(t)
		l.task = l.rig.open(t, l.task.dir)
	case 1:
		l.seal(t)
		fallthrough
	default:
		l.task = l.rig.crash(t, l.task)
	}
	var tail []state.Change
	if n := len(l.changelog) - l.end; n > 0 && l.rnd.IntN(2) == 0 {
		tail = l.changelog[l.end : l.end+l.rnd.IntN(n+1)]
	}
	l.end += len(tail)
	l.back()
	l.reopen(t)
	l.resume(t, tail)
	l.before, l.committed = l.clone(l.now), l.clone(l.now)
}

func (l *life[M]) reopen(t *testing.T) {
	t.Helper()
	l.base = l.task.base(t, "s")
	l.store = l.open(l.base, l.opt)
	h, _, err := l.base.Header()
	must(t, err)
	at := int(h.Position)
	if at > l.end {
		t.Fatalf("base came back at %d; committed up to %d", at, l.end)
	}
	for at < l.end {
		n := min(l.end-at, 1+l.rnd.IntN(40))
		must(t, l.store.Restore(l.changelog[at:at+n], header(int64(at+n))))
		at += n
	}
	must(t, l.store.Restored())
	if l.rnd.IntN(2) == 0 {
		return // its base may not have all yet
	}
	must(t, l.store.Flush())
	if h, _, err := l.base.Header(); err != nil || h.Position != int64(l.end) {
		t.Fatalf("restored up to %d, %v; want %d", h.Position, err, l.end)
	}
}
