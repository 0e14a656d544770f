// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/millrace/millrace/internal/runtime/link"
)

// probeEvery is the time between two looks at inputs that bring nothing.
const probeEvery = time.Second

// confirmEvery is how old the last confirmation of an input's end may be for the
// time since to count as idle: a look may be missed, not two.
const confirmEvery = 2*probeEvery + probeEvery/2

// A prober asks the brokers about inputs that bring nothing, so that a task does not
// wait for records that are not there, and knows an idle input from a broker that is
// away. Fetches alone do not tell: one that brings no record is not seen, and the
// markers of transactions and what compaction has left out look like records that
// are missing.
type prober struct {
	app  *App
	seen map[link.Partition]int64 // where inputs stood at the last look
}

func (a *App) probe(ctx context.Context) {
	p := prober{app: a, seen: map[link.Partition]int64{}}
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.look(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// A quiet input is one that brings nothing, and its task cares.
type quiet struct {
	slot *slot
	part link.Partition
	in   *progress
	at   int64
}

// look asks for the ends of inputs that stand where they stood at the last look.
func (p *prober) look(ctx context.Context) {
	asked := p.quiet()
	if len(asked) == 0 {
		return
	}
	var parts []link.Partition
	for _, q := range asked {
		parts = append(parts, q.part)
	}
	ctx, cancel := context.WithTimeout(ctx, probeEvery)
	defer cancel()
	ends, err := p.app.cluster.Ends(ctx, parts)
	now := time.Now()
	for _, q := range asked {
		end, ok := ends[q.part]
		switch {
		case err != nil || !ok:
			p.tell(q, func() (bool, error) { q.slot.task.Doubt(q.part.Topic); return false, nil })
		case q.at >= end.Offset || p.gap(ctx, q, end.Offset):
			p.tell(q, func() (bool, error) {
				if q.in.fetched.Load() != q.at && q.in.fetched.Load() < end.Offset {
					return false, nil // it has moved since
				}
				return q.slot.task.Confirm(now.UnixMilli(), q.part.Topic)
			})
		default:
			p.tell(q, func() (bool, error) { q.slot.task.Doubt(q.part.Topic); return false, nil })
		}
	}
}

// quiet lists the inputs to ask for, and notes where all of them stand.
func (p *prober) quiet() []quiet {
	a := p.app
	a.mu.Lock()
	defer a.mu.Unlock()
	var asked []quiet
	seen := map[link.Partition]int64{}
	for _, s := range a.slots {
		if s.phase != running || len(s.inputs()) < 2 && a.cfg.SourceIdleness == 0 {
			continue
		}
		for part, in := range s.inputs() {
			at := in.fetched.Load()
			was, known := p.seen[part]
			seen[part] = at
			empty, paused := in.queue.empty()
			if known && was == at && empty && !paused {
				asked = append(asked, quiet{s, part, in, at})
			}
		}
	}
	p.seen = seen
	return asked
}

// gap tells whether there is no record between where an input stands and the end.
func (p *prober) gap(ctx context.Context, q quiet, end int64) bool {
	r := p.app.cluster.Read(q.part, p.app.topics.Load().topics[q.part.Topic].ID, q.at, end)
	for {
		recs, _, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			q.in.fetched.CompareAndSwap(q.at, end)
			return true
		}
		if err != nil || len(recs) > 0 {
			return false
		}
	}
}

// tell gives the task's worker an answer, and has it look at the task again.
func (p *prober) tell(q quiet, answer func() (moved bool, err error)) {
	s, w := q.slot, q.slot.worker
	w.do(func() {
		if s.leaving || s.discarded || !s.started {
			return
		}
		moved, err := answer()
		if err != nil {
			w.failed(err)
			return
		}
		if moved {
			w.ran(s)
		}
		s.offer()
	})
}
