// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"
)

// replayModern applies a record of a consumer group. Compaction may have left
// any of its records behind any other.
func (c *core) replayModern(version int16, key, value []byte) error {
	r := reader{kbin.Reader{Src: key[2:]}}
	group, of := r.String(), ""
	if version != keyEpoch && version != keyPartitionMeta && version != keyTargetEpoch {
		of = r.String()
	}
	if err := r.Complete(); err != nil {
		return fmt.Errorf("key of version %d: %w", version, err)
	}
	if value == nil {
		c.replayModernTombstone(version, group, of)
		return nil
	}
	apply, err := readModern(version, of, value)
	if err != nil {
		return fmt.Errorf("value of a key of version %d: %w", version, err)
	}
	apply(c.modernOf(group))
	return nil
}

// readModern returns what a value does to its group.
func readModern(version int16, of string, value []byte) (func(*modern), error) {
	switch version {
	case keyEpoch:
		epoch, hash, err := readEpoch(value)
		return func(mod *modern) { mod.epoch, mod.hash = epoch, hash }, err
	case keyTargetEpoch:
		epoch, at, err := readEpoch(value)
		return func(mod *modern) { mod.assignmentEpoch, mod.assignmentTime = epoch, at }, err
	case keyMember:
		meta, err := readMember(of, value)
		return func(mod *modern) {
			m := &consumer{consumerMeta: meta, consumerState: consumerState{epoch: -1, previousEpoch: -1}}
			if old := mod.members[of]; old != nil {
				m.consumerState = old.consumerState
			}
			mod.put(m)
		}, err
	case keyCurrent:
		s, err := readCurrent(value)
		return func(mod *modern) {
			m := &consumer{consumerMeta{id: of}, s}
			if old := mod.members[of]; old != nil {
				m.consumerMeta = old.consumerMeta
			}
			mod.put(m)
		}, err
	case keyTarget:
		target, err := readTarget(value)
		return func(mod *modern) { mod.targets[of] = target }, err
	case keyRegex:
		topics, err := readRegex(value)
		return func(mod *modern) { mod.regexes[of] = topics }, err
	default: // keyPartitionMeta, of which nothing is used
		return func(mod *modern) { mod.oldMeta = true }, nil
	}
}

// modernOf returns the consumer group, and makes it if it is missing. A classic
// group of that name was converted: the tombstone that says so may be gone.
func (c *core) modernOf(id string) *modern {
	g := c.groups[id]
	if g == nil {
		g = c.create(id)
	}
	if g.modern == nil {
		offsets := g.offsets
		g = newGroup(id)
		g.offsets = offsets
		g.modern = newModern()
		c.groups[id] = g
	}
	return g.modern
}

func (c *core) replayModernTombstone(version int16, group, of string) {
	g := c.groups[group]
	if g == nil || g.modern == nil {
		return
	}
	mod := g.modern
	switch version {
	case keyEpoch:
		g.modern = nil
		c.dropIfGone(g)
	case keyPartitionMeta:
		mod.oldMeta = false
	case keyMember:
		mod.remove(of)
	case keyTargetEpoch:
		mod.assignmentEpoch, mod.assignmentTime = 0, 0
	case keyTarget:
		delete(mod.targets, of)
	case keyCurrent:
		if old := mod.members[of]; old != nil {
			mod.put(&consumer{old.consumerMeta, consumerState{epoch: -1, previousEpoch: -1}})
		}
	case keyRegex:
		delete(mod.regexes, of)
	}
}
