// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/state"
)

// DefaultMemoryLimit is the Config.MemoryLimit of who sets none, in bytes.
const DefaultMemoryLimit = 512 << 20

// The limit is shared out: three quarters are the stores' budget (half of it for layers
// and caches, half for the backend), an eighth is for what is fetched and not processed,
// a sixteenth for what is on its way to the brokers, a sixteenth for what one fetch
// brings. Tasks that are restored have no queues yet: what they read, two pieces each, has
// that share.
const (
	leastQueue  = 32 << 10
	leastFlight = 256 << 10
	mostFlight  = 32 << 20
	leastRead   = 256 << 10
)

// FetchBytes is how much may be fetched at once for a memory limit, of all partitions and
// of one, in bytes: as it comes, compressed perhaps. Where it grows too much when it is
// decoded, less is fetched: see link.MemberConfig.FetchMemory.
func FetchBytes(limit int64) (all, partition int32) {
	if limit == 0 {
		limit = DefaultMemoryLimit
	}
	all = int32(min(max(limit/32, 1<<20), 16<<20))
	return all, int32(min(max(limit/2048, 64<<10), 1<<20))
}

// flightBytes is the part of a memory limit for records on their way to the brokers, in
// bytes.
func flightBytes(limit int64) int64 {
	return min(max(limit/16, leastFlight), mostFlight)
}

// memory holds the tasks of an App within its limit: they commit early when layers
// take much of it, and stop taking records when they take all. What is committed
// makes room, so a broker that is away stops them sooner or later.
type memory struct {
	limit  int64
	own    bool // the budget is the App's own
	budget *state.Budget
	queued atomic.Int64 // bytes fetched and not processed
	waited atomic.Bool  // a worker waits for room
	stops  atomic.Int64 // how often one had to
	told   atomic.Int64 // when the log was told of it, in ns since the Unix epoch
}

// newMemory makes the budget.
func newMemory(cfg *Config) *memory {
	m := &memory{limit: cfg.MemoryLimit, budget: cfg.StoreOptions.Budget}
	def(&cfg.Link.MaxInFlight, flightBytes(m.limit))
	def(&cfg.Link.ReadMemory, max(m.limit/8/2/int64(cfg.Restorers), leastRead))
	if m.budget == nil {
		m.budget = state.NewBudget(m.limit / 4 * 3)
		cfg.StoreOptions.Budget = m.budget
		m.own = true
	}
	return m
}

// shareOut gives the backend its parts of the budget, once it is known how many tasks
// there are, all of which may come here.
func (a *App) shareOut() {
	if b, ok := a.cfg.Stores.(state.Budgeted); ok && a.memory.own {
		b.UseBudget(a.memory.budget, max(1, a.tasksOf(func(s *plan.Sub) bool { return len(s.Stores) > 0 })))
	}
}

// tasksOf counts the tasks of some sub-topologies, on all instances.
func (a *App) tasksOf(some func(*plan.Sub) bool) int {
	tasks := 0
	for _, s := range a.plan.Subs {
		n, known := int32(0), a.topics.Load()
		for _, topic := range s.Topics(known.matches) {
			n = max(n, known.topics[topic].Partitions)
		}
		if some(s) {
			tasks += int(n)
		}
	}
	return tasks
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

// queueBytes is how much of a task may be fetched and not processed before its inputs
// are held: what the configuration says, within half of its share of the limit if all
// tasks were here. The other half is for the last fetch.
func (a *App) queueBytes() int64 {
	tasks := a.tasksOf(func(*plan.Sub) bool { return true })
	share := a.memory.limit / 8 / int64(max(tasks, 1))
	return min(a.cfg.QueueBytes, max(share, leastQueue)/2)
}

// partitionMemory is what one fetch may bring of a partition: as much as the queue of
// any input takes.
func (a *App) partitionMemory() int64 {
	most := 1
	for _, s := range a.plan.Subs {
		most = max(most, len(s.Topics(a.topics.Load().matches)))
	}
	return a.queueBytes() / int64(most)
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
