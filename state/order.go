// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"cmp"
	"slices"
)

// A sealItem is a dirty entry by what it is sorted by first.
type sealItem struct {
	head  uint64
	index uint32
}

// inKeyOrder gives dirty entries in order of their keys. Most of the order is settled by the
// first eight bytes behind what all keys begin with, which lie side by side.
func (s *core[V]) inKeyOrder(list []uint32) []sealItem {
	same := s.commonPrefix(list)
	items := make([]sealItem, len(list), 2*len(list))
	for i, index := range list {
		items[i] = sealItem{head(s.young.key(s.young.at(index))[same:]), index}
	}
	items = sortByHead(items, items[len(items):cap(items)])
	for from := 0; from < len(items); {
		to := from + 1
		for to < len(items) && items[to].head == items[from].head {
			to++
		}
		if to > from+1 {
			slices.SortFunc(items[from:to], func(a, b sealItem) int {
				return bytes.Compare(s.young.key(s.young.at(a.index)), s.young.key(s.young.at(b.index)))
			})
		}
		from = to
	}
	return items
}

// commonPrefix is how many bytes the keys of entries begin with alike: the segment, in
// stores whose rows have a time.
func (s *core[V]) commonPrefix(list []uint32) int {
	if len(list) == 0 {
		return 0
	}
	first := s.young.key(s.young.at(list[0]))
	n := len(first)
	for _, index := range list[1:] {
		n = alike(first[:n], s.young.key(s.young.at(index)))
	}
	return n
}

// fewItems are sorted by comparing.
const fewItems = 256

// sortByHead sorts items by head, into them or other, which is as long: byte by byte
// from the last one on, those left out that are the same in all.
func sortByHead(items, other []sealItem) []sealItem {
	if len(items) < fewItems {
		slices.SortFunc(items, func(a, b sealItem) int { return cmp.Compare(a.head, b.head) })
		return items
	}
	differ := uint64(0)
	for i := range items {
		differ |= items[i].head ^ items[0].head
	}
	for shift := 0; shift < 64; shift += 8 {
		if differ>>shift&0xff == 0 {
			continue
		}
		var begins [256]uint32
		for i := range items {
			begins[items[i].head>>shift&0xff]++
		}
		sum := uint32(0)
		for d, n := range begins {
			begins[d], sum = sum, sum+n
		}
		for i := range items {
			d := items[i].head >> shift & 0xff
			other[begins[d]] = items[i]
			begins[d]++
		}
		items, other = other, items
	}
	return items
}
