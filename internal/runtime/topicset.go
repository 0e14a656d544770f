// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"slices"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/assign"
	"github.com/millrace/millrace/internal/runtime/link"
)

// A topicSet is what is known of the topics of an App at one time. It is never changed:
// when topics come, go or grow another takes its place.
type topicSet struct {
	topics   map[string]link.Topic // sources, internal ones, and sinks that choose partitions
	matches  plan.Matches
	subs     map[string]*plan.Sub  // by source topic
	internal map[string]bool       // repartition topics
	resets   map[string]plan.Reset // of source topics, where it is not the start
	limits   map[string]int        // of records, in bytes, where it is not the default
	// base is how many partitions the sources that are named had at the start. A task
	// begins when it has its partitions of those; what has come since comes as it comes.
	base map[string]int32
}

// newTopicSet makes a set of what was found. before is the set in whose place it comes,
// nil for the first.
func newTopicSet(p *plan.Plan, s *topicSurvey, before *topicSet) *topicSet {
	t := &topicSet{
		topics: s.found, matches: s.matches,
		subs: map[string]*plan.Sub{}, internal: map[string]bool{}, resets: map[string]plan.Reset{}, base: map[string]int32{},
	}
	for _, sub := range p.Subs {
		for _, n := range sub.Sources {
			for _, topic := range s.matches.Of(n) {
				t.subs[topic] = sub
				t.internal[topic] = t.internal[topic] || n.Internal
				if n.Reset != (plan.Reset{}) {
					t.resets[topic] = n.Reset
				}
				if n.Pattern == nil {
					t.base[topic] = s.found[topic].Partitions
				}
			}
		}
	}
	if before == nil {
		return t
	}
	t.base = before.base
	for name, was := range before.topics { // sinks keep the partitions that tasks have chosen from
		if _, source := t.subs[name]; !source {
			t.topics[name] = was
		}
	}
	return t
}

// has tells whether a partition is one of a source's, as far as it is known.
func (t *topicSet) has(p link.Partition) bool {
	return t.subs[p.Topic] != nil && p.Num < t.topics[p.Topic].Partitions
}

// subscription is what the group's member reads.
func (t *topicSet) subscription(p *plan.Plan) link.Subscription {
	s := link.Subscription{Resets: t.resets}
	for topic := range t.subs {
		s.Topics = append(s.Topics, topic)
	}
	slices.Sort(s.Topics)
	for _, sub := range p.Subs {
		as := assign.Sub{Name: sub.Name, Stateful: len(sub.Stores) > 0, Topics: sub.Topics(nil), Patterns: sub.Patterns()}
		for _, expr := range as.Patterns {
			as.Matched = append(as.Matched, t.matches[expr]...)
		}
		s.Subs = append(s.Subs, as)
	}
	return s
}
