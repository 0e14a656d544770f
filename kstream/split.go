// SPDX-License-Identifier: Apache-2.0

package kstream

import "github.com/millrace/millrace/internal/flow"

// Branch splits the stream in two: the records for which is answers true, and
// the others.
func (s *KStream[K, V]) Branch(is func(K, V) bool) (yes, no *KStream[K, V]) {
	branches := s.Split(is)
	return branches[0], branches[1]
}

// Split sends each record into the stream of the first predicate that answers
// true, or into the last stream, which has no predicate, if none does. The
// result has one stream more than there are predicates.
func (s *KStream[K, V]) Split(cases ...func(K, V) bool) []*KStream[K, V] {
	choose := func(k K, v V) int {
		for i, is := range cases {
			if is(k, v) {
				return i
			}
		}
		return len(cases)
	}
	var branches []*KStream[K, V]
	for _, b := range flow.Split(s.end, len(cases)+1, choose) {
		branches = append(branches, of(b))
	}
	return branches
}
