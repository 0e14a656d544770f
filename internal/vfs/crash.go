// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"maps"
	"math/rand/v2"
)

const sectorSize = 512

// CrashMem is a disk in memory for tests. It remembers what was synced and what
// was not, so that Crash can tell what a real disk might hold after a crash: that
// takes memory for each change until its sync. All methods are safe for
// concurrent use.
type CrashMem struct{ Mem }

// NewCrashMem returns an empty disk.
func NewCrashMem() *CrashMem {
	return &CrashMem{Mem{root: newDir(), locks: map[string]bool{}, crashes: true}}
}

// OnEffect has fn called after each change of the disk with its number, from 1
// on: each write, truncation, sync, creation, removal and rename is one. fn runs
// on the goroutine that made the change, with no lock held: it may call Crash.
// Call OnEffect before the disk is used.
func (m *CrashMem) OnEffect(fn func(n int)) { m.hook = fn }

// Crash returns a disk as it might be found after a crash at this moment; m goes
// on untouched. What was synced is there. Of what was not, each write is kept,
// dropped, or torn at a byte or by sectors of 512 bytes, in any subset; a file
// may have got its length but not its data, which are then zeros; creations,
// renames and removals in folders that were not synced are kept or lost one by
// one. The choice is rng's alone: the same state and seed give the same disk.
func (m *CrashMem) Crash(rng *rand.Rand) *CrashMem {
	c := &crash{rng: rng}
	switch rng.IntN(6) {
	case 0:
		c.keepAll = true
	case 1:
		c.dropAll = true
	}
	return m.after(c)
}

// Kill returns the disk as it is found after kill -9 at this moment: the page
// cache lives, so everything is there. m goes on untouched.
func (m *CrashMem) Kill() *CrashMem { return m.after(&crash{keepAll: true}) }

func (m *CrashMem) after(c *crash) *CrashMem {
	c.nodes, c.dirs = map[*node]*node{}, map[*node]map[string]*node{}
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, mv := range m.moves {
		if !c.keep() {
			continue
		}
		for _, p := range mv.parts {
			set(c.entries(p.dir), p.name, p.to)
		}
	}
	after := NewCrashMem()
	after.root = c.clone(m.root)
	return after
}

// A crash is one choice of what survives.
type crash struct {
	rng              *rand.Rand
	keepAll, dropAll bool
	nodes            map[*node]*node            // clones
	dirs             map[*node]map[string]*node // entries of folders as they survive
}

func (c *crash) keep() bool { return !c.dropAll && (c.keepAll || c.rng.IntN(2) == 0) }

func (c *crash) entries(dir *node) map[string]*node {
	if c.dirs[dir] == nil {
		c.dirs[dir] = maps.Clone(dir.durable)
	}
	return c.dirs[dir]
}

func (c *crash) clone(n *node) *node {
	if done := c.nodes[n]; done != nil {
		return done
	}
	if n.entries == nil {
		f := &node{content: *n.replay(c.apply), mtime: n.mtime}
		c.nodes[n] = f
		return f
	}
	d := newDir()
	c.nodes[n] = d
	entries := c.entries(n)
	for _, name := range sortedKeys(entries) {
		child := c.clone(entries[name])
		d.entries[name], d.durable[name] = child, child
	}
	return d
}

// apply lets one edit survive, or not, or in part.
func (c *crash) apply(f *content, e *edit, wrote []byte) {
	switch {
	case c.keepAll:
		e.apply(f, wrote)
	case c.dropAll:
	case e.truncate:
		if c.keep() {
			e.apply(f, wrote)
		}
	default:
		c.tear(f, e, wrote)
	}
}

// tear lets a part of one write survive.
func (c *crash) tear(f *content, e *edit, wrote []byte) {
	switch c.rng.IntN(5) {
	case 0, 1:
		f.writeAt(wrote, e.off)
	case 2:
		f.writeAt(wrote[:c.rng.IntN(len(wrote)+1)], e.off)
	case 3:
		for at := int64(0); at < e.n; {
			next := min(e.n, at+sectorSize-(e.off+at)%sectorSize)
			if c.rng.IntN(2) == 0 {
				f.writeAt(wrote[at:next], e.off+at)
			}
			at = next
		}
	case 4: // dropped, and perhaps the length came through
	}
	if c.rng.IntN(4) == 0 {
		f.resize(max(f.size, e.off+e.n))
	}
}
