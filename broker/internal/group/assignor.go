// SPDX-License-Identifier: Apache-2.0

package group

import (
	"cmp"
	"slices"
)

// The assignors of consumer groups, the default first. They are sticky to the
// last target, not to what members happen to have on their way to it.
var assignorNames = []string{"uniform", "range"}

// A subscriber is a member as an assignor sees it.
type subscriber struct {
	id       string
	instance string // "" if it is not static
	topics   [][16]byte
	target   partitions // its last one
}

// A topicSize is a topic with a subscriber, and how many partitions it has.
type topicSize struct {
	id         [16]byte
	partitions int32
}

// assign returns the new targets, by member id, of subscribers, which are in
// order of id. topics are those with a subscriber, in order of id.
func assign(name string, subscribers []subscriber, topics []topicSize) map[string]partitions {
	var out map[string]partitions
	if name == "range" {
		out = assignRange(subscribers, topics)
	} else {
		out = assignUniform(subscribers, topics)
	}
	for _, target := range out {
		for id := range target {
			slices.Sort(target[id])
		}
	}
	return out
}

// assignRange gives each subscriber of a topic one range of its partitions.
// Static members come first, by instance id: so a topic of as many partitions
// is dealt out alike, to the same members, whatever happens in between.
func assignRange(subscribers []subscriber, topics []topicSize) map[string]partitions {
	order := slices.Clone(subscribers)
	slices.SortStableFunc(order, func(a, b subscriber) int {
		if (a.instance == "") != (b.instance == "") {
			return cmp.Compare(b.instance, a.instance)
		}
		return cmp.Or(cmp.Compare(a.instance, b.instance), cmp.Compare(a.id, b.id))
	})
	of := make(map[[16]byte][]string)
	out := make(map[string]partitions, len(order))
	for _, s := range order {
		out[s.id] = make(partitions)
		for _, t := range s.topics {
			of[t] = append(of[t], s.id)
		}
	}
	for _, t := range topics {
		ids := of[t.id]
		each, extra := int(t.partitions)/len(ids), int(t.partitions)%len(ids)
		next := int32(0)
		for i, id := range ids {
			n := each
			if i < extra {
				n++
			}
			for range n {
				out[id][t.id] = append(out[id][t.id], next)
				next++
			}
		}
	}
	return out
}

// uniform is the state of the uniform assignor: it gives all subscribers as
// much as it can, moving as little as it can.
type uniform struct {
	out   map[string]partitions
	count map[string]int
	of    map[[16]byte][]string // subscribers of a topic, in order
}

func assignUniform(subscribers []subscriber, topics []topicSize) map[string]partitions {
	u := &uniform{
		out:   make(map[string]partitions, len(subscribers)),
		count: make(map[string]int, len(subscribers)),
		of:    make(map[[16]byte][]string, len(topics)),
	}
	for _, s := range subscribers {
		u.out[s.id] = make(partitions)
		for _, t := range s.topics {
			u.of[t] = append(u.of[t], s.id)
		}
	}
	free := u.keep(subscribers, topics)
	if u.homogeneous(subscribers) {
		free = u.shed(subscribers, topics, free)
	}
	// Those that few want go first, while there is a choice among the few.
	slices.SortStableFunc(free, func(a, b partitionID) int {
		return cmp.Or(
			cmp.Compare(len(u.of[a.topic]), len(u.of[b.topic])),
			compareIDs(a.topic, b.topic),
			cmp.Compare(a.partition, b.partition),
		)
	})
	for _, p := range free {
		u.give(u.least(p.topic), p)
	}
	for u.level(topics) {
	}
	return u.out
}

// keep gives members what they had, and returns what nobody had.
func (u *uniform) keep(subscribers []subscriber, topics []topicSize) (free []partitionID) {
	had := make(map[partitionID]string)
	for _, s := range subscribers {
		for _, t := range s.topics {
			for _, p := range s.target[t] {
				had[partitionID{t, p}] = s.id
			}
		}
	}
	for _, t := range topics {
		for p := range t.partitions {
			at := partitionID{t.id, p}
			if id, ok := had[at]; ok {
				u.give(id, at)
			} else {
				free = append(free, at)
			}
		}
	}
	return free
}

func (u *uniform) give(id string, p partitionID) {
	u.out[id][p.topic] = append(u.out[id][p.topic], p.partition)
	u.count[id]++
}

// take takes the last partition of a topic that a member was given.
func (u *uniform) take(id string, topic [16]byte) partitionID {
	of := u.out[id][topic]
	p := of[len(of)-1]
	if of = of[:len(of)-1]; len(of) > 0 {
		u.out[id][topic] = of
	} else {
		delete(u.out[id], topic)
	}
	u.count[id]--
	return partitionID{topic, p}
}

// homogeneous reports whether all subscribe to the same topics.
func (u *uniform) homogeneous(subscribers []subscriber) bool {
	for _, of := range u.of {
		if len(of) != len(subscribers) {
			return false
		}
	}
	return true
}

// shed takes from those that have more than their share when all want the
// same: each has the same number or, as far as that goes, one more.
func (u *uniform) shed(subscribers []subscriber, topics []topicSize, free []partitionID) []partitionID {
	total := len(free)
	for _, n := range u.count {
		total += n
	}
	share, extra := total/len(subscribers), total%len(subscribers)
	for _, s := range subscribers {
		most := share
		if u.count[s.id] > share && extra > 0 {
			most++
			extra--
		}
		for _, topic := range slices.Backward(topics) {
			for u.count[s.id] > most && len(u.out[s.id][topic.id]) > 0 {
				free = append(free, u.take(s.id, topic.id))
			}
		}
	}
	return free
}

// least returns the subscriber of topic that has the fewest partitions.
func (u *uniform) least(topic [16]byte) string {
	of := u.of[topic]
	best := of[0]
	for _, id := range of[1:] {
		if u.count[id] < u.count[best] {
			best = id
		}
	}
	return best
}

// level moves partitions from those with most to those with least, topic by
// topic, and reports whether there was anything to move. It ends, since each
// move lessens the sum of the squares of the counts.
func (u *uniform) level(topics []topicSize) (moved bool) {
	for _, t := range topics {
		for {
			to, from := u.least(t.id), ""
			for _, id := range u.of[t.id] {
				if len(u.out[id][t.id]) > 0 && (from == "" || u.count[id] > u.count[from]) {
					from = id
				}
			}
			if from == "" || u.count[from] <= u.count[to]+1 {
				break
			}
			u.give(to, u.take(from, t.id))
			moved = true
		}
	}
	return moved
}
