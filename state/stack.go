// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"fmt"
	"slices"
	"sync/atomic"
)

// A stack is the part of a store that knows bytes only: the base and the layers
// above it that are sealed. It belongs to the worker, but for view.
type stack struct {
	name   string
	base   Base
	opt    Options
	layers []*Layer // oldest first; the first few are committed, the rest not
	done   int      // how many of layers are committed
	heads  []Header // those of their commits
	most   int      // how many of them may be
	keeps  bool     // the newer of them stay here when the older ones go: most rows do not live so long
	header Header   // of the last commit
	moved  bool     // the base has not got header yet
	size   int64    // bytes of layers
	ready  int64    // bytes of the committed ones of them
	writes Writes   // reused
	cut    []byte   // rows before it were removed from the base since it was opened
	told   *marks   // Resume said so, and nothing was committed since
	// loading is what was restored last, the first of layers, if the base may not have it.
	loading *loading
	// view is what readers of other goroutines see; nil is the base alone.
	view atomic.Pointer[viewed]
}

// A viewed is what is committed but for the base. It never changes.
type viewed struct {
	layers []*Layer // oldest first; one leaves only after the base has got it
	told   *marks   // those to go by; nil: as layers and base have them
}

// maxCommitted bounds how many committed layers wait for the base: each is one
// more place to look for a key that is not in the cache. A store with a shelf hardly
// looks, and what it does not write to the base because it has expired or was removed
// before is the most part.
const (
	maxCommitted        = 8
	maxCommittedShelved = 32
)

func (s *stack) begin(name string, base Base, opt Options) {
	s.name, s.base, s.opt, s.most = name, base, opt, maxCommitted
}

// lookup appends what layers and base hold for key, timestamp and value, to dst.
func (s *stack) lookup(dst []byte, hash uint64, key []byte) ([]byte, bool, error) {
	return lookup(dst, s.layers, s.base, hash, key)
}

func lookup(dst []byte, layers []*Layer, base Base, hash uint64, key []byte) ([]byte, bool, error) {
	for _, l := range slices.Backward(layers) {
		if at := l.find(hash, key); at >= 0 {
			body, ok := l.body(at)
			return append(dst, body...), ok, nil
		}
	}
	return base.AppendGet(dst, key)
}

func (s *stack) push(l *Layer) {
	s.layers = append(s.layers, l)
	s.size += l.bytes()
}

// commit marks l, the oldest layer that is not committed, and hands the committed
// ones to the base if they have become many.
func (s *stack) commit(l *Layer, h Header) error {
	if l != nil {
		if s.done >= len(s.layers) || s.layers[s.done] != l {
			return fmt.Errorf("commit store %s: %w", s.name, ErrOrder)
		}
		s.done++
		s.heads = append(s.heads, h)
		s.ready += l.bytes()
		s.publish()
	}
	s.header, s.moved = h, true
	s.look()
	if s.done >= s.most || s.loading == nil && s.ready >= s.applyBytes() {
		return s.applyOld()
	}
	return nil
}

// applyBytes is how much of committed layers may wait.
func (s *stack) applyBytes() int64 { return s.opt.Budget.apply(s.opt.ApplyBytes) }

func (s *stack) publish() {
	s.view.Store(&viewed{append([]*Layer(nil), s.layers[:s.done]...), s.told})
}

// committed gives what is committed and may not be in the base.
func (s *stack) committed() viewed {
	if p := s.view.Load(); p != nil {
		return *p
	}
	return viewed{}
}

// apply hands the committed layers to the base.
func (s *stack) apply() error {
	if err := s.loaded(); err != nil {
		return err
	}
	return s.applyFirst(s.done)
}

// applyOld is apply for those layers that need not wait for their rows to expire or to be
// removed: all, or the older half.
func (s *stack) applyOld() error {
	if err := s.loaded(); err != nil {
		return err
	}
	n := s.done
	for room := s.applyBytes() / 2; s.keeps && n > 1 && s.done-n < s.most/2; n-- {
		if room -= s.layers[n-1].bytes(); room < 0 {
			break
		}
	}
	return s.applyFirst(n)
}

// applyFirst hands the first n layers, which are committed, to the base, each key once.
// Rows that are gone by the time of the last commit are left out, though the header may
// be that of an earlier one: who restores from there restores that time as well.
func (s *stack) applyFirst(n int) error {
	if !s.moved {
		return nil
	}
	defer s.writes.Reset()
	h := s.header
	if n < s.done {
		h = s.heads[n-1]
	}
	keep := kept(s.layers[:s.done])
	newest := &Layer{}
	if s.done > 0 {
		newest = s.layers[s.done-1]
	}
	if bytes.Compare(keep, s.cut) > 0 {
		s.writes.DeleteRange(firstRow, keep)
	}
	gone := func(key []byte) bool { return expired(key, keep) || newest.hides(key) }
	for _, c := range foldLayers(s.layers[:n], gone) {
		key := c.layer.key(c.at)
		if body, ok := c.layer.body(c.at); ok {
			s.writes.Put(key, body)
		} else if !c.fresh {
			s.writes.Delete(key)
		}
	}
	if err := s.base.Apply(&s.writes, h); err != nil {
		return fmt.Errorf("apply to store %s: %w", s.name, err)
	}
	s.moved = n < s.done
	if keep != nil {
		s.cut = keep
	}
	for _, l := range s.layers[:n] {
		s.size -= l.bytes()
		s.ready -= l.bytes()
	}
	s.layers, s.heads = slices.Clone(s.layers[n:]), slices.Clone(s.heads[n:])
	s.done -= n
	s.publish()
	return nil
}

// kept gives the key before which all rows are gone, as of the newest of layers;
// nil if none says so.
func kept(layers []*Layer) []byte {
	for _, l := range slices.Backward(layers) {
		if l.keep != nil {
			return l.keep
		}
	}
	return nil
}

func expired(key, keep []byte) bool {
	return bytes.Compare(key, keep) < 0 && bytes.Compare(key, firstRow) >= 0
}

func shadowed(newer []*Layer, hash uint64, key []byte) bool {
	for _, l := range newer {
		if l.find(hash, key) >= 0 {
			return true
		}
	}
	return false
}

// A folded is the last change of a key in several layers.
type folded struct {
	layer *Layer
	at    int
	fresh bool // below these layers there is nothing
}

// foldLayers gives the last change of each key in layers, which are given oldest first,
// but for keys of rows that are gone.
func foldLayers(layers []*Layer, gone func(key []byte) bool) []folded {
	n := 0
	for _, l := range layers {
		n += l.Len()
	}
	list := make([]folded, 0, n)
	size := 4
	for size*2 < n*3 {
		size *= 2
	}
	index := make([]uint32, size)
	for _, l := range slices.Backward(layers) {
		for at := range l.recs {
			key := l.key(at)
			if gone(key) {
				continue
			}
			fresh := l.fresh != nil && l.fresh[at]
			if newer := findFolded(list, index, l.recs[at].hash, key); newer != nil {
				newer.fresh = fresh
				continue
			}
			addIndex(index, l.recs[at].hash, len(list))
			list = append(list, folded{l, at, fresh})
		}
	}
	return list
}

func findFolded(list []folded, index []uint32, hash uint64, key []byte) *folded {
	mask := uint64(len(index) - 1)
	for at := hash & mask; index[at] != 0; at = (at + 1) & mask {
		c := &list[index[at]-1]
		if c.layer.recs[c.at].hash == hash && bytes.Equal(c.layer.key(c.at), key) {
			return c
		}
	}
	return nil
}

// dropSealed removes the layers that are not committed and gives them back.
func (s *stack) dropSealed() []*Layer {
	dropped := s.layers[s.done:]
	for _, l := range dropped {
		s.size -= l.bytes()
	}
	s.layers = append([]*Layer(nil), s.layers[:s.done]...)
	return dropped
}

func (s *stack) flush() error {
	if err := s.apply(); err != nil {
		return err
	}
	if err := s.base.Flush(); err != nil {
		return fmt.Errorf("flush store %s: %w", s.name, err)
	}
	return nil
}

func (s *stack) unflushed() int64 {
	s.look()
	n := s.ready + s.base.Unflushed()
	if s.loading != nil {
		n += s.loading.layer.bytes()
	}
	return n
}
