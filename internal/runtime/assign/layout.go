// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
)

// A layout is a sub-topology that tasks are made of in this round.
type layout struct {
	Sub              // its Topics are all that it reads in this round
	members    []int // that can run its tasks, ascending
	can        []bool
	capacity   int // of members, summed up
	claimed    int // partitions that they own
	first, end int // its tasks
}

// lay finds the sub-topologies that count, and makes their tasks.
//
// In a rolling upgrade members may disagree: a sub-topology is new, or has one
// more topic. Each topic must be read by the tasks of one of them alone, so of
// those that share a topic the one with the most capacity behind it counts, and
// when they are level the one whose partitions are owned already. The others wait:
// what only they read is not served until the upgrade has come further.
func (p *problem) lay(counts map[string]int32) {
	counts = p.known(counts)
	all := p.proposals(counts)
	slices.SortFunc(all, func(a, b *layout) int {
		return cmp.Or(-cmp.Compare(a.capacity, b.capacity), -cmp.Compare(a.claimed, b.claimed),
			cmp.Compare(a.Name, b.Name), slices.Compare(a.Topics, b.Topics))
	})
	served, named := map[string]bool{}, map[string]bool{}
	asked := map[string]bool{}
	for _, l := range all {
		free := !named[l.Name]
		for _, t := range l.Topics {
			asked[t] = asked[t] || counts[t] > 0
			free = free && !served[t]
		}
		if !free {
			continue
		}
		named[l.Name] = true
		for _, t := range l.Topics {
			served[t] = true
		}
		p.subs = append(p.subs, *l)
	}
	slices.SortFunc(p.subs, func(a, b layout) int { return cmp.Compare(a.Name, b.Name) })
	for _, t := range slices.Sorted(maps.Keys(asked)) {
		if asked[t] && !served[t] {
			p.unserved = append(p.unserved, t)
		}
	}
	for i := range p.subs {
		p.makeTasks(i, counts)
	}
}

// known fills in the topics that the leader's metadata misses for the moment:
// what is owned is there.
func (p *problem) known(counts map[string]int32) map[string]int32 {
	counts = maps.Clone(counts)
	if counts == nil {
		counts = map[string]int32{}
	}
	missing := map[string]int32{}
	for _, m := range p.members {
		for _, o := range m.Owned {
			if counts[o.Topic] == 0 && o.Num >= 0 && o.Num < maxPartitions {
				missing[o.Topic] = max(missing[o.Topic], o.Num+1)
			}
		}
	}
	maps.Copy(counts, missing)
	return counts
}

// maxPartitions bounds what a member can make us believe of a topic.
const maxPartitions = 1 << 16

// proposals lists the sub-topologies of all members, each different one once. Of what
// matches a pattern those topics count that all its members know: one that has not seen
// a new topic yet could not read it, and no task is to move because of that. When it
// has it joins again.
func (p *problem) proposals(counts map[string]int32) []*layout {
	var all []*layout
	seen := map[string]*layout{}
	for i, m := range p.members {
		owned := map[string]int{}
		for _, o := range m.Owned {
			owned[o.Topic]++
		}
		reads := map[string]bool{}
		for _, t := range m.Topics {
			reads[t] = true
		}
		for _, s := range m.Data.Subs {
			topics := slices.Sorted(slices.Values(s.Topics))
			topics = slices.Compact(topics)
			patterns := slices.Compact(slices.Sorted(slices.Values(s.Patterns)))
			foreign := func(t string) bool { return counts[t] > 0 && !reads[t] }
			if len(topics)+len(patterns) == 0 || slices.ContainsFunc(topics, foreign) {
				continue
			}
			key := s.Name + "\x00" + strings.Join(topics, "\x00") + "\x01" + strings.Join(patterns, "\x00")
			l := seen[key]
			if l == nil {
				l = &layout{Sub: Sub{Name: s.Name, Topics: topics, Patterns: patterns, Matched: s.Matched}, can: make([]bool, len(p.members))}
				seen[key] = l
				all = append(all, l)
			}
			if l.can[i] {
				continue
			}
			l.can[i] = true
			l.Matched = slices.DeleteFunc(slices.Clone(l.Matched), func(t string) bool { return !slices.Contains(s.Matched, t) })
			l.members = append(l.members, i)
			l.capacity += p.capacity(i)
			l.Stateful = l.Stateful || s.Stateful
			for _, t := range slices.Concat(topics, s.Matched) {
				l.claimed += owned[t]
			}
		}
	}
	for _, l := range all {
		l.Topics = slices.Compact(slices.Sorted(slices.Values(slices.Concat(l.Topics, l.Matched))))
	}
	return all
}

// MatchedHash is a hash of the topics that subs know for their patterns, 0 if there are no
// patterns. The leader tells a member what it has heard of it: one that came back under its
// fixed id gets the share of the one before, which may not have known of a topic.
func MatchedHash(subs []Sub) uint64 {
	h, patterns := fnv.New64a(), false
	for _, s := range subs {
		if len(s.Patterns) == 0 {
			continue
		}
		patterns = true
		_, _ = fmt.Fprintf(h, "%q%q", s.Name, slices.Sorted(slices.Values(s.Matched)))
	}
	if !patterns {
		return 0
	}
	return max(h.Sum64(), 1)
}

// makeTasks makes the tasks of a sub-topology: as many as its largest topic has
// partitions. Each has the partitions of its number of those topics that have one.
func (p *problem) makeTasks(sub int, counts map[string]int32) {
	l := &p.subs[sub]
	var n int32
	for _, t := range l.Topics {
		n = max(n, counts[t])
	}
	l.first = len(p.tasks)
	for num := range n {
		t := task{id: TaskID{l.Name, num}, sub: sub, owner: -1, home: -1, active: -1, warmup: -1}
		for _, name := range l.Topics {
			if num < counts[name] {
				t.parts = append(t.parts, Partition{name, num})
			}
		}
		p.tasks = append(p.tasks, t)
	}
	l.end = len(p.tasks)
}

// of gives the tasks of a sub-topology.
func (p *problem) of(sub int) []task { return p.tasks[p.subs[sub].first:p.subs[sub].end] }
