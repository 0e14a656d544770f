// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"fmt"
	"maps"

	"github.com/millrace/millrace/internal/runtime/link"
)

// begin has tasks go on that have got what they waited for: new ones begin when they
// have the partitions that they need, with what else they have by then, and those that
// run take up what has come since. It is called when all partitions of one assignment are
// attached. Under App.mu.
func (a *App) begin() {
	if a.closing {
		return
	}
	for _, s := range a.slots {
		switch {
		case s.phase == waiting && s.complete():
			s.phase = restoring
			ins := a.newInputs(s, s.list())
			s.ins.Store(&ins)
			before := a.ended[s.id]
			a.wg.Go(func() { a.bring(s, before) })
		case s.phase == running && len(s.late) > 0:
			ins := a.newInputs(s, s.late)
			s.late = nil
			a.wg.Go(func() { a.grow(s, ins) })
		}
	}
}

// complete tells whether a task has what it cannot begin without. Under App.mu.
func (s *slot) complete() bool {
	for _, p := range s.need {
		if !s.have[p] {
			return false
		}
	}
	return len(s.have) > 0
}

// list gives the partitions that a slot has. Under App.mu.
func (s *slot) list() []link.Partition {
	var parts []link.Partition
	for p := range s.have {
		parts = append(parts, p)
	}
	return parts
}

// grow gives inputs to a task that runs: those of a topic that is new, or has got the
// task's partition. The task goes on meanwhile.
func (a *App) grow(s *slot, ins map[link.Partition]*progress) {
	origins, err := a.locate(s.ctx, ins)
	if err != nil {
		if s.ctx.Err() == nil && a.hard.Err() == nil {
			a.fail(fmt.Errorf("task %s: %w", s.id, err))
		}
		return
	}
	s.worker.do(func() { s.worker.grow(s, ins, origins) })
}

// grow takes inputs over. A slot that ends has them in its place's next one.
func (w *worker) grow(s *slot, ins map[link.Partition]*progress, origins map[string]Origin) {
	if s.leaving || s.discarded || !s.started {
		return
	}
	for p := range ins {
		start := map[string]Origin{}
		if at, ok := origins[p.Topic]; ok {
			start[p.Topic] = at
		}
		if err := s.task.AddInput(p.Topic, start); err != nil {
			w.failed(err)
			return
		}
	}
	all := maps.Clone(s.inputs())
	maps.Copy(all, ins)
	a := w.app
	a.mu.Lock()
	defer a.mu.Unlock()
	s.ins.Store(&all)
	for p := range ins {
		if a.owners[p] == s {
			a.member.Resume(p)
		}
	}
	s.offer()
}
