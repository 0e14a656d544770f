// SPDX-License-Identifier: Apache-2.0

package state

// life is what every kind of store embeds: a core, and of its methods only those
// that are the store's. A kind that embedded the core itself would have all its
// methods promoted, and each of them compiled once more for every pair of key and
// value in a program.
type life[V any] struct{ c core[V] }

// Name implements [Store].
func (s *life[V]) Name() string { return s.c.name }

// Dirty is how many keys the open layer has changed.
func (s *life[V]) Dirty() int { return len(s.c.dirty) }

// Seal implements [Store].
func (s *life[V]) Seal() (*Layer, error) { return s.c.seal() }

// Commit implements [Store].
func (s *life[V]) Commit(l *Layer, h Header) error { return s.c.commitUpTo(l, h) }

// Discard implements [Store].
func (s *life[V]) Discard() { s.c.discard() }

// Flush implements [Store].
func (s *life[V]) Flush() error { return s.c.flush() }

// Unflushed implements [Store].
func (s *life[V]) Unflushed() int64 { return s.c.unflushed() }

// Restore implements [Store].
func (s *life[V]) Restore(recs []Change, h Header) error { return s.c.restore(recs, h) }

// Restored implements [Store].
func (s *life[V]) Restored() error { return s.c.restored() }

// Bytes implements [Store].
func (s *life[V]) Bytes() (dirty, cached int64) { return s.c.memory() }

// Shrink implements [Store].
func (s *life[V]) Shrink(target int64) { s.c.shrink(target) }

// Close implements [Store].
func (s *life[V]) Close() error { return s.c.close() }
