// SPDX-License-Identifier: Apache-2.0

package state

import (
	"fmt"
	"slices"
)

// A loading is what was restored last, which the base has not got yet. The store is in
// use all the same: it is read as a layer, the oldest one.
type loading struct {
	layer  *Layer
	header Header
	done   chan struct{} // nil before it goes into the base beside the store's use
	err    error         // once done is closed
}

// leastLoading is the part of what may be restored at once from which on a store does
// not wait for the base.
const leastLoading = 16

// takeIn is given what was restored last. The base gets it when the store is at work
// and all that are restored beside it are, too; at once if it is little, or there is no
// room for more.
func (s *stack) takeIn(l *Layer) error {
	if !s.moved {
		return nil
	}
	s.loading, s.moved = &loading{layer: l, header: s.header}, false
	s.layers, s.heads, s.done = []*Layer{l}, []Header{s.header}, 1
	s.size += l.bytes()
	s.publish()
	if l.bytes() < s.opt.RestoreBytes/leastLoading || !s.opt.Budget.mayLoad() {
		return s.loaded()
	}
	return nil
}

// load puts a layer into a base that has the rows before it.
func load(base Base, l *Layer, h Header) error {
	var w Writes
	w.list = make([]Write, 0, len(l.recs))
	for i := range l.recs {
		if body, ok := l.body(i); ok {
			w.Put(l.key(i), body)
		} else {
			w.Delete(l.key(i))
		}
	}
	return base.Load(&w, h)
}

// begin has the layer loaded by a goroutine that loaded waits for.
func (p *loading) begin(base Base) {
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		p.err = load(base, p.layer, p.header)
	}()
}

// look begins to load what was restored, or lets go of it if the base has it by now.
func (s *stack) look() {
	switch p := s.loading; {
	case p == nil:
	case p.done == nil:
		if s.opt.Budget.shouldLoad() {
			p.begin(s.base)
		}
	default:
		select {
		case <-p.done:
			_ = s.loaded() // a failure comes again
		default:
		}
	}
}

// loaded waits until what was restored is in the base.
func (s *stack) loaded() error {
	p := s.loading
	if p == nil {
		return nil
	}
	if p.done == nil {
		p.begin(s.base)
	}
	<-p.done
	if p.err != nil {
		return fmt.Errorf("restore store %s: %w", s.name, p.err)
	}
	s.loading = nil
	s.layers, s.heads = slices.Clone(s.layers[1:]), slices.Clone(s.heads[1:])
	s.done--
	s.size -= p.layer.bytes()
	s.publish()
	return nil
}
