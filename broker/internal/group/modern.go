// SPDX-License-Identifier: Apache-2.0

package group

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A memberState is where a member of a consumer group is on its way to its
// target assignment. The numbers are those of Kafka's records.
//
//	         target lacks a partition it has
//	stable -----------------------------------> unrevoked
//	  ^  |                                       |    ^
//	  |  | target has a partition                |    | a newer target takes
//	  |  | that another member has               |    | more away
//	  |  +----------------> unreleased <---------+    |
//	  |                      |   |  revocation was    |
//	  +----------------------+   |  confirmed         |
//	   the others let go         +--------------------+
type memberState int8

const (
	memberStable     memberState = iota // has what it is to have
	memberUnrevoked                     // must confirm that it has let go of partitions
	memberUnreleased                    // waits for partitions that others still have
)

// modern is what makes a group a consumer group (KIP-848). All changes go
// through the setters in modern_emit.go, which write the record of each.
//
// A change of members or subscriptions, or of the topics subscribed to, counts
// the epoch up; a target assignment is computed for the new epoch; and each
// member is led to its part of it by its own heartbeats (reconcile.go).
type modern struct {
	epoch           int32 // of members and subscriptions; 0 before the first record
	hash            int64 // of the topics subscribed to
	assignmentEpoch int32 // of the targets: less than epoch if they are out of date
	assignmentTime  int64 // when the targets were computed, ms since the Unix epoch

	members map[string]*consumer   // by member id
	targets map[string]partitions  // by member id
	statics map[string]string      // instance id to member id
	owners  map[partitionID]string // members that have, or have yet to let go of, a partition
	regexes map[string][]string    // topics of each regular expression, in order
	seen    *Topics                // for which hash and regexes are right
	oldMeta bool                   // the log has a record of a kind that is written no more
}

func newModern() *modern {
	return &modern{
		members: make(map[string]*consumer),
		targets: make(map[string]partitions),
		statics: make(map[string]string),
		owners:  make(map[partitionID]string),
		regexes: make(map[string][]string),
	}
}

type partitionID struct {
	topic     [16]byte
	partition int32
}

// partitions has the partitions of each topic in order. No list is empty.
type partitions map[[16]byte][]int32

// owned has the partitions of each topic, and the epoch in which each was
// assigned. No map is empty.
type owned map[[16]byte]map[int32]int32

// A consumer is one member of a consumer group. A consumer is replaced, never
// changed, and so are its maps.
type consumer struct {
	consumerMeta
	consumerState
}

// consumerMeta is what a member says of itself.
type consumerMeta struct {
	id               string
	instance         *string // group.instance.id of a static member
	rack             *string
	client           Client
	rebalanceTimeout time.Duration
	topics           []string // in order, each once
	regex            string   // "" if none
	assignor         *string
	classic          *classicMeta // nil if the member uses the consumer protocol
}

// classicMeta is what a member says that uses the classic protocol.
type classicMeta struct {
	sessionTimeout time.Duration
	protocols      []kmsg.JoinGroupRequestProtocol // in order of preference
}

// consumerState is how far a member has come.
type consumerState struct {
	state         memberState
	epoch         int32 // -1: must rejoin; -2: a static member that will be back
	previousEpoch int32 // of which the member may not know yet that it is over
	assigned      owned
	revoking      owned // what it has yet to let go of
}

// reconciled reports whether m has what the targets of epoch say.
func (m *consumer) reconciled(epoch int32) bool {
	return m.state == memberStable && m.epoch == epoch
}

// stateName returns the name of the state of a consumer group.
func (mod *modern) stateName() string {
	switch {
	case len(mod.members) == 0:
		return "Empty"
	case mod.epoch > mod.assignmentEpoch:
		return "Assigning"
	}
	for _, m := range mod.members {
		if !m.reconciled(mod.assignmentEpoch) {
			return "Reconciling"
		}
	}
	return "Stable"
}

// ids returns the ids of all members in order.
func (mod *modern) ids() []string { return slices.Sorted(maps.Keys(mod.members)) }

// topicsOf returns the topics that m subscribes to, by name or expression.
func (mod *modern) topicsOf(m *consumer) map[string]bool {
	topics := make(map[string]bool, len(m.topics))
	for _, t := range m.topics {
		topics[t] = true
	}
	for _, t := range mod.regexes[m.regex] {
		topics[t] = true
	}
	return topics
}

// subscription returns the topics that any member subscribes to.
func (mod *modern) subscription() map[string]bool {
	topics := make(map[string]bool)
	for _, m := range mod.members {
		maps.Copy(topics, mod.topicsOf(m))
	}
	return topics
}

// regexInUse reports whether a member subscribes to expr.
func (mod *modern) regexInUse(expr string) bool {
	for _, m := range mod.members {
		if m.regex == expr {
			return true
		}
	}
	return false
}

// metadataHash returns a number that changes if a topic subscribed to is made,
// deleted or grown. 0 stands for no topics. Kafka computes another one: a group
// that it takes over from us is assigned anew once.
func (mod *modern) metadataHash(topics *Topics) int64 {
	h := fnv.New64a()
	any := false
	for _, name := range slices.Sorted(maps.Keys(mod.subscription())) {
		t := topics.byName[name]
		if t == nil {
			continue
		}
		any = true
		h.Write([]byte(name))
		h.Write(t.ID[:])
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(t.Partitions)))
	}
	if !any {
		return 0
	}
	return int64(h.Sum64())
}

// assignorName returns the assignor that most members ask for.
func (mod *modern) assignorName() string {
	votes := make(map[string]int)
	for _, m := range mod.members {
		if m.assignor != nil {
			votes[*m.assignor]++
		}
	}
	best := assignorNames[0]
	for _, name := range assignorNames {
		if votes[name] > votes[best] {
			best = name
		}
	}
	return best
}

// supports reports whether a member that uses the classic protocol could join:
// it must share one with all others that do.
func (mod *modern) supports(protocolType string, protocols []kmsg.JoinGroupRequestProtocol) bool {
	if protocolType != consumerProtocol {
		return false
	}
	classics, know := 0, make(map[string]int)
	for _, m := range mod.members {
		if m.classic == nil {
			continue
		}
		classics++
		for _, p := range m.classic.protocols {
			know[p.Name]++
		}
	}
	return slices.ContainsFunc(protocols, func(p kmsg.JoinGroupRequestProtocol) bool {
		return know[p.Name] == classics
	})
}

func compareIDs(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) }

// sortedIDs returns the keys of m in order.
func sortedIDs[V any](m map[[16]byte]V) [][16]byte {
	return slices.SortedFunc(maps.Keys(m), compareIDs)
}

func (p partitions) equal(o partitions) bool {
	return maps.EqualFunc(p, o, func(a, b []int32) bool { return slices.Equal(a, b) })
}

func (o owned) has(topic [16]byte, partition int32) bool {
	_, ok := o[topic][partition]
	return ok
}

func (o owned) put(topic [16]byte, partition, epoch int32) {
	if o[topic] == nil {
		o[topic] = make(map[int32]int32)
	}
	o[topic][partition] = epoch
}

// equal reports whether o and p are the same, with the epochs.
func (o owned) equal(p owned) bool {
	return maps.EqualFunc(o, p, func(a, b map[int32]int32) bool { return maps.Equal(a, b) })
}

// partitions returns the partitions of o.
func (o owned) partitions() partitions {
	p := make(partitions, len(o))
	for id, of := range o {
		p[id] = slices.Sorted(maps.Keys(of))
	}
	return p
}

// each calls fn for all partitions in order.
func (o owned) each(fn func(topic [16]byte, partition, epoch int32)) {
	for _, id := range sortedIDs(o) {
		for _, p := range slices.Sorted(maps.Keys(o[id])) {
			fn(id, p, o[id][p])
		}
	}
}

// equalMeta reports whether m and o say the same of themselves.
func (m *consumerMeta) equalMeta(o *consumerMeta) bool {
	return m.id == o.id && equalPtr(m.instance, o.instance) && equalPtr(m.rack, o.rack) &&
		m.client == o.client && m.rebalanceTimeout == o.rebalanceTimeout &&
		slices.Equal(m.topics, o.topics) && m.regex == o.regex && equalPtr(m.assignor, o.assignor) &&
		(m.classic == nil) == (o.classic == nil) && (m.classic == nil || m.classic.equal(o.classic))
}

func (m *classicMeta) equal(o *classicMeta) bool {
	return m.sessionTimeout == o.sessionTimeout &&
		slices.EqualFunc(m.protocols, o.protocols, func(a, b kmsg.JoinGroupRequestProtocol) bool {
			return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
		})
}

func (s *consumerState) equalState(o *consumerState) bool {
	return s.state == o.state && s.epoch == o.epoch && s.previousEpoch == o.previousEpoch &&
		s.assigned.equal(o.assigned) && s.revoking.equal(o.revoking)
}

func equalPtr[T cmp.Ordered](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// inOrder yields the topics in order.
func (p partitions) inOrder() iter.Seq2[[16]byte, []int32] {
	return func(yield func([16]byte, []int32) bool) {
		for _, id := range sortedIDs(p) {
			if !yield(id, p[id]) {
				return
			}
		}
	}
}
