// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"cmp"
	"slices"
)

// A keyItem is a key, at a place that index tells, by what it is sorted by first.
type keyItem struct {
	head  uint64
	index uint32
}

// inKeyOrder gives dirty entries in order of their keys.
func (s *core[V]) inKeyOrder(list []uint32) []keyItem {
	items := make([]keyItem, len(list), 2*len(list))
	for i, index := range list {
		items[i].index = index
	}
	return sortByKey(items, func(index uint32) []byte { return s.young.key(s.young.at(index)) })
}

// sortByKey sorts items by their keys, and where these are the same by index; it uses
// room behind them for as many more. Most of the order is settled by the first eight
// bytes behind what all keys begin with, which lie side by side.
func sortByKey(items []keyItem, key func(index uint32) []byte) []keyItem {
	setHeads(items, key)
	items = sortByHead(items, items[len(items):cap(items)])
	for from := 0; from < len(items); {
		to := from + 1
		for to < len(items) && items[to].head == items[from].head {
			to++
		}
		if to > from+1 {
			slices.SortFunc(items[from:to], func(a, b keyItem) int {
				if c := bytes.Compare(key(a.index), key(b.index)); c != 0 {
					return c
				}
				return cmp.Compare(a.index, b.index)
			})
		}
		from = to
	}
	return items
}

// setHeads notes what items are sorted by first.
func setHeads(items []keyItem, key func(index uint32) []byte) {
	same := commonPrefix(items, key)
	for i := range items {
		items[i].head = head(key(items[i].index)[same:])
	}
}

// lastOfEach leaves the last one of sorted items with the same key, in their place.
func lastOfEach(items []keyItem, key func(index uint32) []byte) []keyItem {
	last := items[:0]
	for i, it := range items {
		if i+1 == len(items) || items[i+1].head != it.head || !bytes.Equal(key(items[i+1].index), key(it.index)) {
			last = append(last, it)
		}
	}
	return last
}

// commonPrefix is how many bytes keys begin with alike: the segment, in stores whose
// rows have a time.
func commonPrefix(items []keyItem, key func(index uint32) []byte) int {
	if len(items) == 0 {
		return 0
	}
	first := key(items[0].index)
	n := len(first)
	for i := range items[1:] {
		n = alike(first[:n], key(items[i+1].index))
	}
	return n
}

// fewItems are sorted by comparing.
const fewItems = 256

// sortByHead sorts items by head, into them or other, which is as long: byte by byte
// from the last one on, those left out that are the same in all.
func sortByHead(items, other []keyItem) []keyItem {
	if len(items) < fewItems {
		slices.SortFunc(items, func(a, b keyItem) int { return cmp.Compare(a.head, b.head) })
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
