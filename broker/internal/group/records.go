// SPDX-License-Identifier: Apache-2.0

package group

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The versions of Kafka's records (OffsetCommitKey.json and its siblings).
const (
	keyOffset      = 1 // and 0, of which the layout is the same
	keyGroup       = 2
	offsetVersion  = 3 // written
	offsetExpiring = 1 // written for a commit with a retention of its own
	offsetNewest   = 4 // understood
	groupVersion   = 3 // written
	// groupNewest is understood. Version 4, flexible and otherwise the same,
	// is written by no Kafka so far, and kmsg would take minutes over one
	// whose count of tags is made up.
	groupNewest = 3
)

// offsetRecord says that o is committed.
func offsetRecord(group string, tp topicPartition, o committed) Record {
	v := kmsg.NewOffsetCommitValue()
	v.Version = offsetVersion
	v.Offset = o.offset
	v.LeaderEpoch = o.leaderEpoch
	v.Metadata = o.metadata
	v.CommitTimestamp = o.commitTime
	if o.expireTime >= 0 {
		v.Version = offsetExpiring
		v.ExpireTimestamp = o.expireTime
	}
	r := offsetTombstone(group, tp)
	r.Value = v.AppendTo(nil)
	return r
}

// offsetTombstone says that there is no committed offset.
func offsetTombstone(group string, tp topicPartition) Record {
	k := kmsg.OffsetCommitKey{Version: keyOffset, Group: group, Topic: tp.topic, Partition: tp.partition}
	return Record{Key: k.AppendTo(nil)}
}

// groupTombstone says that the group is deleted.
func groupTombstone(group string) Record {
	k := kmsg.GroupMetadataKey{Version: keyGroup, Group: group}
	return Record{Key: k.AppendTo(nil)}
}

// emitGroup emits the record of g as it is now. It reports false, and emits
// nothing, if the record would be larger than the log takes.
func (c *core) emitGroup(g *group) bool {
	r := groupRecord(g)
	if len(r.Key)+len(r.Value) > c.cfg.MaxRecordBytes {
		return false
	}
	g.persisted = true
	c.emit(g, r)
	return true
}

func groupRecord(g *group) Record {
	v := kmsg.NewGroupMetadataValue()
	v.Version = groupVersion
	v.ProtocolType = g.protocolType
	v.Generation = g.generation
	v.CurrentStateTimestamp = g.since
	if g.protocol != "" {
		v.Protocol = &g.protocol
	}
	if g.leader != "" {
		v.Leader = &g.leader
	}
	for _, m := range g.members {
		vm := kmsg.NewGroupMetadataValueMember()
		vm.MemberID, vm.InstanceID = m.id, m.instance
		vm.ClientID, vm.ClientHost = m.client.ID, m.client.Host
		vm.RebalanceTimeoutMillis = int32(m.rebalanceTimeout.Milliseconds())
		vm.SessionTimeoutMillis = int32(m.sessionTimeout.Milliseconds())
		vm.Subscription = m.metadata(g.protocol)
		vm.Assignment = m.assignment
		v.Members = append(v.Members, vm)
	}
	r := groupTombstone(g.id)
	r.Value = v.AppendTo(nil)
	return r
}

// errUnknownKey is the fate of a record whose key is of a version that this
// package does not know: a newer Kafka's, or another group type's. Kafka
// passes over such records, and so do we.
var errUnknownKey = errors.New("unknown key version")

// replay applies one record of the log. It keeps neither slice. After an error
// the record has had no effect; all but errUnknownKey mean a damaged record.
func (c *core) replay(key, value []byte) error {
	if len(key) < 2 {
		return fmt.Errorf("key of %d bytes", len(key))
	}
	switch version := int16(binary.BigEndian.Uint16(key)); version {
	case 0, keyOffset:
		return c.replayOffset(key, value)
	case keyGroup:
		return c.replayGroup(key, value)
	case keyEpoch, keyPartitionMeta, keyMember, keyTargetEpoch, keyTarget, keyCurrent, keyRegex:
		return c.replayModern(version, key, value)
	default:
		return fmt.Errorf("%w %d", errUnknownKey, version)
	}
}

func (c *core) replayOffset(key, value []byte) error {
	var k kmsg.OffsetCommitKey
	if err := k.ReadFrom(key); err != nil {
		return fmt.Errorf("offset commit key: %w", err)
	}
	tp := topicPartition{k.Topic, k.Partition}
	g := c.groups[k.Group]
	if value == nil {
		if g != nil {
			delete(g.offsets, tp)
			c.dropIfGone(g)
		}
		return nil
	}
	if err := checkVersion(value, offsetNewest); err != nil {
		return fmt.Errorf("offset commit value: %w", err)
	}
	var v kmsg.OffsetCommitValue
	if err := v.ReadFrom(value); err != nil {
		return fmt.Errorf("offset commit value: %w", err)
	}
	if g == nil {
		g = c.create(k.Group)
	}
	o := committed{
		offset:      v.Offset,
		leaderEpoch: v.LeaderEpoch,
		metadata:    v.Metadata,
		commitTime:  v.CommitTimestamp,
		expireTime:  -1,
	}
	if v.Version == offsetExpiring && v.ExpireTimestamp >= 0 {
		o.expireTime = v.ExpireTimestamp
	}
	if v.Version < 3 { // has no epoch, and kmsg says 0
		o.leaderEpoch = -1
	}
	g.offsets[tp] = o
	return nil
}

func (c *core) replayGroup(key, value []byte) error {
	var k kmsg.GroupMetadataKey
	if err := k.ReadFrom(key); err != nil {
		return fmt.Errorf("group metadata key: %w", err)
	}
	var restored *group
	if g := c.groups[k.Group]; value == nil && g != nil && g.modern != nil {
		return nil // it is no classic group any more
	}
	if value == nil {
		restored = newGroup(k.Group) // its offsets, if any, make it a simple group
	} else {
		var err error
		if restored, err = decodeGroup(k.Group, value); err != nil {
			return fmt.Errorf("group metadata value: %w", err)
		}
		restored.persisted = true
	}
	if g := c.groups[k.Group]; g != nil {
		restored.offsets = g.offsets
	}
	c.groups[k.Group] = restored
	c.dropIfGone(restored)
	return nil
}

// decodeGroup reads a group record. A group that has members was stable when
// it was written.
func decodeGroup(id string, value []byte) (*group, error) {
	if err := checkVersion(value, groupNewest); err != nil {
		return nil, err
	}
	var v kmsg.GroupMetadataValue
	// The copy is kept: byte fields are slices of it.
	if err := v.ReadFrom(append([]byte(nil), value...)); err != nil {
		return nil, err
	}
	g := newGroup(id)
	g.protocolType = v.ProtocolType
	g.generation = v.Generation
	g.since = v.CurrentStateTimestamp
	if v.Protocol != nil {
		g.protocol = *v.Protocol
	}
	for _, vm := range v.Members {
		if vm.MemberID == "" {
			return nil, errors.New("member without id")
		}
		if g.byID[vm.MemberID] != nil {
			return nil, fmt.Errorf("member %q twice", vm.MemberID)
		}
		if vm.InstanceID != nil && g.statics[*vm.InstanceID] != "" {
			return nil, fmt.Errorf("instance %q twice", *vm.InstanceID)
		}
		session := max(0, millis(vm.SessionTimeoutMillis))
		m := &member{
			id:               vm.MemberID,
			instance:         vm.InstanceID,
			client:           Client{vm.ClientID, vm.ClientHost},
			sessionTimeout:   session,
			rebalanceTimeout: session,
			protocols:        []kmsg.JoinGroupRequestProtocol{{Name: g.protocol, Metadata: vm.Subscription}},
			assignment:       vm.Assignment,
		}
		if vm.RebalanceTimeoutMillis >= 0 { // not in version 0
			m.rebalanceTimeout = time.Duration(vm.RebalanceTimeoutMillis) * time.Millisecond
		}
		g.add(m)
	}
	if len(g.members) > 0 {
		g.state = stateStable
	}
	if v.Leader != nil && g.byID[*v.Leader] != nil {
		g.leader = *v.Leader
	}
	g.leaderless = v.Leader == nil && len(g.members) > 0
	return g, nil
}

// checkVersion checks the version at the start of value.
func checkVersion(value []byte, newest int16) error {
	if len(value) < 2 {
		return fmt.Errorf("%d bytes", len(value))
	}
	if v := int16(binary.BigEndian.Uint16(value)); v < 0 || v > newest {
		return fmt.Errorf("version %d, newest known is %d", v, newest)
	}
	return nil
}
