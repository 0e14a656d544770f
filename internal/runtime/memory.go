// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/state"
)

// DefaultMemoryLimit is the Config.MemoryLimit of who sets none, in bytes.
const DefaultMemoryLimit = 512 << 20

// The limit is shared out: three quarters are the stores' budget (half of it for layers
// and caches, half for the backend), an eighth is for what is fetched and not processed,
// and a sixteenth each for what the client has under way in and out.
const (
	leastQueue  = 32 << 10
	leastFlight = 256 << 10
	mostFlight  = 32 << 20
)

// FlightBytes is the part of a memory limit for what a client has under way in one
// direction, in bytes.
func FlightBytes(limit int64) int64 {
	if limit == 0 {
		limit = DefaultMemoryLimit
	}
	return min(max(limit/16, leastFlight), mostFlight)
}

// memory holds the tasks of an App within its limit: they commit early when layers
// take much of it, and stop taking records when they take all. What is committed
// makes room, so a broker that is away stops them sooner or later.
type memory struct {
	limit  int64
	budget *state.Budget
	queued atomic.Int64 // bytes fetched and not processed
	waited atomic.Bool  // a worker waits for room
	stops  atomic.Int64 // how often one had to
	told   atomic.Int64 // when the log was told of it, in ns since the Unix epoch
}

// newMemory makes the budget, and gives the backend its parts.
func newMemory(cfg *Config) *memory {
	m := &memory{limit: cfg.MemoryLimit, budget: cfg.StoreOptions.Budget}
	def(&cfg.Link.MaxInFlight, FlightBytes(m.limit))
	if m.budget == nil {
		m.budget = state.NewBudget(m.limit / 4 * 3)
		cfg.StoreOptions.Budget = m.budget
		if b, ok := cfg.Stores.(state.Budgeted); ok {
			b.UseBudget(m.budget)
		}
	}
	return m
}

// full tells whether processing must stop. Who is told so is woken when there may be
// room: what it waits for is noted before the last look.
func (m *memory) full() bool {
	if !m.budget.Full() {
		return false
	}
	first := !m.waited.Swap(true)
	if !m.budget.Full() {
		return false
	}
	if first {
		m.stops.Add(1)
	}
	return true
}

// toldEvery is the time between two lines of the log about memory that is full.
const toldEvery = time.Minute

// tellOften says whether the log is to be told at now.
func (m *memory) tellOften(now time.Time) bool {
	last := m.told.Load()
	return now.UnixNano()-last >= int64(toldEvery) && m.told.CompareAndSwap(last, now.UnixNano())
}

// roomier wakes the workers that wait for room.
func (a *App) roomier() {
	if !a.memory.waited.Load() || a.memory.budget.Full() || !a.memory.waited.Swap(false) {
		return
	}
	for _, w := range a.workers {
		signal(w.wake)
	}
}

// queueBytes is how much of a task may be fetched and not processed: what the
// configuration says, within its share of the limit if all tasks were here.
func (a *App) queueBytes() int64 {
	tasks := int64(0)
	for _, s := range a.plan.Subs {
		n := int32(0)
		for _, src := range s.Sources {
			n = max(n, a.topics[src.Topic].Partitions)
		}
		tasks += int64(n)
	}
	share := a.memory.limit / 8 / max(tasks, 1)
	return min(a.cfg.QueueBytes, max(share, leastQueue))
}

// hurried tells whether the stores of all tasks together ask for a commit, and this
// worker's have a part in it.
func (w *worker) hurried() bool {
	b := w.app.memory.budget
	return b.CommitSoon() && w.dirty >= b.Layers()/8/int64(len(w.app.workers))
}

// stuffed tells whether the worker must wait for room.
func (w *worker) stuffed(now time.Time) bool {
	m := w.app.memory
	if !m.full() {
		return false
	}
	if m.tellOften(now) {
		dirty, _ := m.budget.Used()
		w.app.log.Warn("the memory limit is reached: records wait until what is processed is committed",
			"limit", m.limit, "uncommitted", dirty)
	}
	return true
}

// MemoryUse is what an App takes of its memory limit, in bytes.
type MemoryUse struct {
	Limit       int64
	Uncommitted int64 // of stores: not committed yet, or not in the base
	Cached      int64 // of stores: kept to answer reads
	Queued      int64 // fetched and not processed
	// Stops counts how often processing had to wait for a commit to make room.
	Stops int64
}

func (m *memory) use() MemoryUse {
	dirty, cached := m.budget.Used()
	return MemoryUse{
		Limit: m.limit, Uncommitted: dirty, Cached: cached, Queued: m.queued.Load(), Stops: m.stops.Load(),
	}
}
