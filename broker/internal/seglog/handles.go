// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/internal/vfs"
)

// Handles bounds how many segment files are open at a time, over all logs that
// share it: what was not used lately is closed and opened anew when it is needed. A file
// that is in use, or that holds bytes no sync has covered, stays open even beyond the
// bound, since another handle might not learn of a write that fails behind it. Safe
// for concurrent use.
//
// Lock order: the lock of a handle before that of Handles.
type Handles struct {
	limit int

	mu   sync.Mutex
	open []*handle // guarded by mu, in no order
	hand int       // guarded by mu: of the clock that goes over open
}

// NewHandles returns a bound of limit files, at least one.
func NewHandles(limit int) *Handles { return &Handles{limit: max(limit, 1)} }

// Open is how many files are open.
func (hs *Handles) Open() int {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return len(hs.open)
}

// looked is how many handles one search for something to close looks at.
const looked = 256

// add counts h, which was just opened, and closes others over the limit.
func (hs *Handles) add(h *handle) {
	hs.mu.Lock()
	h.at = len(hs.open)
	hs.open = append(hs.open, h)
	victims := hs.evictLocked(looked)
	hs.mu.Unlock()
	closeAll(victims)
}

// Trim closes what it can of what is open over the limit, and says how many files
// are open after that and how many may be.
func (hs *Handles) Trim() (open, limit int) {
	hs.mu.Lock()
	victims := hs.evictLocked(math.MaxInt)
	open = len(hs.open)
	hs.mu.Unlock()
	closeAll(victims)
	return open, hs.limit
}

// evictLocked takes files over the limit off the list, for the caller to close. It
// looks at n handles at most.
func (hs *Handles) evictLocked(n int) (victims []vfs.File) {
	for range min(2*len(hs.open), n) {
		if len(hs.open) <= hs.limit {
			break
		}
		hs.hand = (hs.hand + 1) % len(hs.open)
		if f := hs.open[hs.hand].evict(); f != nil {
			victims = append(victims, f)
			hs.removeLocked(hs.open[hs.hand])
		}
	}
	return victims
}

func closeAll(files []vfs.File) {
	for _, f := range files {
		_ = f.Close() // it was synced: nothing to learn from it
	}
}

func (hs *Handles) remove(h *handle) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.removeLocked(h)
}

func (hs *Handles) removeLocked(h *handle) {
	last := len(hs.open) - 1
	hs.open[h.at] = hs.open[last]
	hs.open[h.at].at = h.at
	hs.open[last] = nil
	hs.open = hs.open[:last]
	if hs.hand > last-1 {
		hs.hand = 0
	}
}

// A handle is one segment's file, open or not. Between pin and unpin it is open,
// and f may be used.
type handle struct {
	files *Handles
	fs    vfs.FS
	dirty func() bool // bytes were written that no sync has covered
	used  atomic.Bool // since the clock came by
	at    int         // in files.open, guarded by files.mu

	mu   sync.Mutex // held while the file is opened, renamed or closed: who needs it waits for that
	path string     // guarded by mu
	f    vfs.File   // written under mu and not while pinned; nil: not open
	pins int        // guarded by mu
}

// pin opens the file unless it is open.
func (h *handle) pin() error {
	h.used.Store(true)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.f == nil {
		if err := h.openLocked(0); err != nil {
			return err
		}
	}
	h.pins++
	return nil
}

func (h *handle) unpin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pins--
}

// create makes an empty file.
func (h *handle) create() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.openLocked(os.O_CREATE | os.O_TRUNC)
}

func (h *handle) openLocked(flag int) error {
	f, err := h.fs.OpenFile(h.path, os.O_RDWR|flag, filePerm)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	h.f = f
	h.pins++ // not to be evicted while it comes
	h.files.add(h)
	h.pins--
	return nil
}

// evict gives the file to the caller to close, or nil if it must stay open. The
// caller holds files.mu: a handle whose lock is held is in use.
func (h *handle) evict() vfs.File {
	if h.used.Swap(false) || !h.mu.TryLock() {
		return nil
	}
	defer h.mu.Unlock()
	if h.pins > 0 || h.f == nil || h.dirty() {
		return nil
	}
	f := h.f
	h.f = nil
	return f
}

// rename moves the file; who opens it later finds it there.
func (h *handle) rename(to string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.fs.Rename(h.path, to); err != nil {
		return err
	}
	h.path = to
	return nil
}

// close closes the file. Nobody has it pinned.
func (h *handle) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.f == nil {
		return
	}
	h.files.remove(h)
	_ = h.f.Close() // all was synced that should be: nothing to learn from it
	h.f = nil
}
