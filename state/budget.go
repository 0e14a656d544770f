// SPDX-License-Identifier: Apache-2.0

package state

import "sync/atomic"

// A Budget is the memory that all stores of a process may take together. Stores
// that are opened with it ([Options]) report to it at each Seal, Commit and call of
// Bytes, and keep less in their caches when it is used up. What is open or sealed no
// store can give back by itself: see [Budget.CommitSoon] and [Budget.Full]. A
// backend takes its own part, as BlockCache and WriteBuffers tell. What the
// bases of [Memory] hold is not counted. Safe for concurrent use.
type Budget struct {
	limit  int64
	dirty  atomic.Int64
	cached atomic.Int64
	stores atomic.Int64
	// restores is how many of the stores are being restored.
	restores atomic.Int64
}

// NewBudget makes a budget of limit bytes. Half is for layers and caches of stores, a
// quarter for the cache of blocks of the backend, a quarter for its write buffers.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Limit is the whole budget in bytes.
func (b *Budget) Limit() int64 { return b.limit }

// Layers is the part of the stores in bytes: open, sealed and committed layers, and
// the entries that they keep decoded.
func (b *Budget) Layers() int64 { return b.limit / 2 }

// BlockCache is the part of a backend's cache of blocks in bytes.
func (b *Budget) BlockCache() int64 { return b.limit / 4 }

// WriteBuffers is the part of a backend's write buffers in bytes.
func (b *Budget) WriteBuffers() int64 { return b.limit / 4 }

// Used is what the stores have last reported, in bytes: layers, and what Shrink can
// free.
func (b *Budget) Used() (dirty, cached int64) { return b.dirty.Load(), b.cached.Load() }

// CommitSoon tells that layers take more than half of the part of the stores: a
// commit makes room.
func (b *Budget) CommitSoon() bool { return b.dirty.Load() > b.Layers()/2 }

// Full tells that layers take all of the part of the stores: processing is to stop
// until a commit has come through.
func (b *Budget) Full() bool { return b.dirty.Load() >= b.Layers() }

// leastCache is what a store may keep in its cache at least, and defaultCache what it
// may while there is room, if nothing else was said.
const (
	leastCache   = 64 << 10
	defaultCache = 16 << 20
)

// cache gives how many bytes of clean entries a store may keep, that is allowed own by
// itself: all of it while there is room, then an equal share of what layers leave. Own
// of 0 is that share, and the default while there is room.
func (b *Budget) cache(own int64) int64 {
	dirty, cached := b.Used()
	share := (b.Layers()*3/4 - dirty) / max(b.stores.Load(), 1)
	room := dirty+cached <= b.Layers()*3/4
	switch {
	case own == 0 && room:
		return max(share, defaultCache)
	case own == 0:
		return max(share, leastCache)
	case room:
		return own
	default:
		return min(own, max(share, leastCache))
	}
}

// apply gives up to which size a store lets committed layers wait for the base, that is
// allowed own by itself: all stores together a quarter of their part.
func (b *Budget) apply(own int64) int64 {
	if b == nil {
		return own
	}
	return min(own, b.Layers()/4/max(b.stores.Load(), 1))
}

// restore gives up to which size a store folds its changelog, that is allowed own by
// itself: several may be restored at once, while others are at work.
func (b *Budget) restore(own int64) int64 {
	if b == nil {
		return own
	}
	return min(own, b.Layers()/16)
}

// mayLoad tells whether what was restored may wait for the base beside a store at work.
func (b *Budget) mayLoad() bool { return b == nil || !b.CommitSoon() }

// shouldLoad tells whether what waits so should go into the base: other stores are
// restored first, while there is room.
func (b *Budget) shouldLoad() bool { return b == nil || b.restores.Load() == 0 || b.CommitSoon() }

// A report is what a store has told its budget.
type report struct {
	to            *Budget // nil: there is none
	dirty, cached int64
	restores      bool
}

// restoring notes whether the store is being restored.
func (r *report) restoring(is bool) {
	if r.to == nil || is == r.restores {
		return
	}
	r.restores = is
	if is {
		r.to.restores.Add(1)
	} else {
		r.to.restores.Add(-1)
	}
}

func (r *report) begin(to *Budget) {
	if r.to = to; to != nil {
		to.stores.Add(1)
	}
}

func (r *report) tell(dirty, cached int64) {
	if r.to == nil {
		return
	}
	r.to.dirty.Add(dirty - r.dirty)
	r.to.cached.Add(cached - r.cached)
	r.dirty, r.cached = dirty, cached
}

func (r *report) end() {
	if r.to != nil {
		r.tell(0, 0)
		r.restoring(false)
		r.to.stores.Add(-1)
		r.to = nil
	}
}
