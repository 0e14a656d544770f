// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

// Rest is the label of all topics that have no counters of their own. No topic
// can have this name.
const Rest = "*"

// A Topic counts what goes in and out of one topic. Its fields may be added to
// at any time; a nil Topic counts nothing.
type Topic struct {
	name string

	InBytes, InRecords   atomic.Uint64 // appended: duplicates and what was refused are not
	OutBytes, OutRecords atomic.Uint64 // in answers to Fetch, as stored
	Refused              atomic.Uint64 // batches answered with an error
}

// Name is the topic's name, or Rest.
func (t *Topic) Name() string { return t.name }

// Appended counts one batch.
func (t *Topic) Appended(bytes int, records int64) {
	if t != nil {
		t.InBytes.Add(uint64(bytes))
		t.InRecords.Add(uint64(records))
	}
}

// Fetched counts the answer for one partition.
func (t *Topic) Fetched(bytes int, records int64) {
	if t != nil && bytes > 0 {
		t.OutBytes.Add(uint64(bytes))
		t.OutRecords.Add(uint64(records))
	}
}

// RefusedBatch counts a batch that was answered with an error.
func (t *Topic) RefusedBatch() {
	if t != nil {
		t.Refused.Add(1)
	}
}

// Topics hands out counters for topics, to so many that a scrape stays short.
// It is safe for concurrent use.
type Topics struct {
	rest Topic

	mu    sync.Mutex
	limit int
	all   map[*Topic]struct{}
}

// NewTopics returns counters for limit topics; those that come later share one,
// Rest.
func NewTopics(limit int) *Topics {
	return &Topics{limit: limit, rest: Topic{name: Rest}, all: make(map[*Topic]struct{})}
}

// Limit changes the limit, for topics to come.
func (t *Topics) Limit(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = n
}

// Add returns the counters of a new topic. A topic keeps them for as long as it
// lives: a counter that moves from one label to another would run backwards.
func (t *Topics) Add(name string) *Topic {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) >= t.limit {
		return &t.rest
	}
	c := &Topic{name: name}
	t.all[c] = struct{}{}
	return c
}

// Forget ends the counters of a topic that was deleted. What the shared ones
// have of it stays.
func (t *Topics) Forget(c *Topic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, c)
}

// All returns the counters by name, the shared ones last and only if they have
// counted something.
func (t *Topics) All() []*Topic {
	t.mu.Lock()
	all := make([]*Topic, 0, len(t.all)+1)
	for c := range t.all {
		all = append(all, c)
	}
	t.mu.Unlock()
	slices.SortFunc(all, func(a, b *Topic) int { return cmp.Compare(a.name, b.name) })
	if r := &t.rest; r.InBytes.Load()+r.OutBytes.Load()+r.Refused.Load() > 0 {
		all = append(all, r)
	}
	return all
}
