// SPDX-License-Identifier: Apache-2.0

package group

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The versions of the keys of consumer groups. Each key begins with the id of
// the group; those of members have the member id after it. All values have
// version 0, which is flexible: later Kafkas add tagged fields.
const (
	keyEpoch         = 3  // ConsumerGroupMetadata
	keyPartitionMeta = 4  // ConsumerGroupPartitionMetadata: not written since Kafka 4.1, nor here
	keyMember        = 5  // ConsumerGroupMemberMetadata
	keyTargetEpoch   = 6  // ConsumerGroupTargetAssignmentMetadata
	keyTarget        = 7  // ConsumerGroupTargetAssignmentMember
	keyCurrent       = 8  // ConsumerGroupCurrentMemberAssignment
	keyRegex         = 16 // ConsumerGroupRegularExpression: with the expression for a member id
)

// groupKeyTombstone has a key that is one of a group.
func groupKeyTombstone(version int16, group string) Record {
	return Record{Key: kbin.AppendString(kbin.AppendInt16(nil, version), group)}
}

// tombstone has a key that is one of a member, or of an expression.
func tombstone(version int16, group, of string) Record {
	r := groupKeyTombstone(version, group)
	r.Key = kbin.AppendString(r.Key, of)
	return r
}

var valueVersion = []byte{0, 0}

// appendTags ends a message with tagged fields; nil is one that is not there.
func appendTags(dst []byte, tags ...[]byte) []byte {
	n := 0
	for _, t := range tags {
		if t != nil {
			n++
		}
	}
	dst = kbin.AppendUvarint(dst, uint32(n))
	for i, t := range tags {
		if t != nil {
			dst = kbin.AppendUvarint(dst, uint32(i))
			dst = kbin.AppendUvarint(dst, uint32(len(t)))
			dst = append(dst, t...)
		}
	}
	return dst
}

// optionalInt64 returns a tagged field whose default is 0.
func optionalInt64(v int64) []byte {
	if v == 0 {
		return nil
	}
	return kbin.AppendInt64(nil, v)
}

func epochRecord(group string, mod *modern) Record {
	r := groupKeyTombstone(keyEpoch, group)
	r.Value = appendTags(kbin.AppendInt32(slices.Clone(valueVersion), mod.epoch), optionalInt64(mod.hash))
	return r
}

func targetEpochRecord(group string, mod *modern) Record {
	r := groupKeyTombstone(keyTargetEpoch, group)
	r.Value = appendTags(kbin.AppendInt32(slices.Clone(valueVersion), mod.assignmentEpoch), optionalInt64(mod.assignmentTime))
	return r
}

func memberRecord(group string, m *consumerMeta) Record {
	v := slices.Clone(valueVersion)
	v = kbin.AppendCompactNullableString(v, m.instance)
	v = kbin.AppendCompactNullableString(v, m.rack)
	v = kbin.AppendCompactString(v, m.client.ID)
	v = kbin.AppendCompactString(v, m.client.Host)
	v = appendStrings(v, m.topics)
	v = kbin.AppendCompactNullableString(v, &m.regex)
	v = kbin.AppendInt32(v, int32(m.rebalanceTimeout.Milliseconds()))
	v = kbin.AppendCompactNullableString(v, m.assignor)
	var classic []byte
	if m.classic != nil {
		classic = []byte{1} // not null
		classic = kbin.AppendInt32(classic, int32(m.classic.sessionTimeout.Milliseconds()))
		classic = kbin.AppendCompactArrayLen(classic, len(m.classic.protocols))
		for _, p := range m.classic.protocols {
			classic = kbin.AppendCompactString(classic, p.Name)
			classic = kbin.AppendCompactBytes(classic, p.Metadata)
			classic = appendTags(classic)
		}
		classic = appendTags(classic)
	}
	r := tombstone(keyMember, group, m.id)
	r.Value = appendTags(v, classic)
	return r
}

func targetRecord(group, member string, target partitions) Record {
	v := kbin.AppendCompactArrayLen(slices.Clone(valueVersion), len(target))
	for _, id := range sortedIDs(target) {
		v = kbin.AppendUuid(v, id)
		v = appendInt32s(v, target[id])
		v = appendTags(v)
	}
	r := tombstone(keyTarget, group, member)
	r.Value = appendTags(v)
	return r
}

func currentRecord(group, member string, s *consumerState) Record {
	v := slices.Clone(valueVersion)
	v = kbin.AppendInt32(v, s.epoch)
	v = kbin.AppendInt32(v, s.previousEpoch)
	v = kbin.AppendInt8(v, int8(s.state))
	v = appendOwned(v, s.assigned)
	v = appendOwned(v, s.revoking)
	r := tombstone(keyCurrent, group, member)
	r.Value = appendTags(v)
	return r
}

func regexRecord(group, expr string, topics []string, now int64) Record {
	v := appendStrings(slices.Clone(valueVersion), topics)
	v = kbin.AppendInt64(v, 0) // of Kafka's metadata, which there is none of here
	v = kbin.AppendInt64(v, now)
	r := tombstone(keyRegex, group, expr)
	r.Value = appendTags(v)
	return r
}

func appendStrings(dst []byte, of []string) []byte {
	dst = kbin.AppendCompactArrayLen(dst, len(of))
	for _, s := range of {
		dst = kbin.AppendCompactString(dst, s)
	}
	return dst
}

func appendInt32s(dst []byte, of []int32) []byte {
	dst = kbin.AppendCompactArrayLen(dst, len(of))
	for _, i := range of {
		dst = kbin.AppendInt32(dst, i)
	}
	return dst
}

func appendOwned(dst []byte, o owned) []byte {
	dst = kbin.AppendCompactArrayLen(dst, len(o))
	for id, of := range o.partitions().inOrder() {
		dst = kbin.AppendUuid(dst, id)
		dst = appendInt32s(dst, of)
		epochs := make([]int32, len(of))
		for i, p := range of {
			epochs[i] = o[id][p]
		}
		dst = appendTags(dst, appendInt32s(nil, epochs))
	}
	return dst
}

// A reader reads a value. What it returns after an error means nothing; counts
// are only believed as far as there are bytes.
type reader struct{ kbin.Reader }

// openValue checks the version of a value. It is not kept.
func openValue(value []byte) (*reader, error) {
	if err := checkVersion(value, 0); err != nil {
		return nil, err
	}
	return &reader{kbin.Reader{Src: value[2:]}}, nil
}

// tags reads the tagged fields of a message; field gets those with a known tag.
func (r *reader) tags(field func(tag uint32, v *reader)) {
	for n := r.Uvarint(); n > 0 && r.Ok(); n-- {
		tag := r.Uvarint()
		span := r.Span(int(int32(r.Uvarint())))
		if field != nil && r.Ok() {
			v := &reader{kbin.Reader{Src: span}}
			field(tag, v)
			if !v.Ok() {
				r.Span(len(r.Src) + 1) // fails
			}
		}
	}
}

func (r *reader) strings() []string {
	var out []string
	for n := r.CompactArrayLen(); n > 0 && r.Ok(); n-- {
		out = append(out, r.CompactString())
	}
	return out
}

func (r *reader) int32s() []int32 {
	var out []int32
	for n := r.CompactArrayLen(); n > 0 && r.Ok(); n-- {
		out = append(out, r.Int32())
	}
	return out
}

// end reads the tagged fields at the end of a value.
func (r *reader) end(field func(tag uint32, v *reader)) error {
	r.tags(field)
	if !r.Ok() {
		return fmt.Errorf("record is cut off: %w", r.Complete())
	}
	if n := len(r.Src); n > 0 {
		return fmt.Errorf("%d bytes too many", n)
	}
	return nil
}

func readMember(id string, value []byte) (consumerMeta, error) {
	m := consumerMeta{id: id}
	r, err := openValue(value)
	if err != nil {
		return m, err
	}
	m.instance = r.CompactNullableString()
	m.rack = r.CompactNullableString()
	m.client = Client{r.CompactString(), r.CompactString()}
	m.topics = distinct(r.strings())
	if expr := r.CompactNullableString(); expr != nil {
		m.regex = *expr
	}
	m.rebalanceTimeout = max(0, millis(r.Int32()))
	m.assignor = r.CompactNullableString()
	err = r.end(func(tag uint32, v *reader) {
		if tag == 0 && v.Int8() > 0 { // 0 is null
			m.classic = v.classic()
		}
	})
	if err == nil && m.classic != nil && len(m.classic.protocols) == 0 {
		err = errors.New("classic member without protocols")
	}
	return m, err
}

func (r *reader) classic() *classicMeta {
	m := &classicMeta{sessionTimeout: max(0, millis(r.Int32()))}
	for n := r.CompactArrayLen(); n > 0 && r.Ok(); n-- {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name = r.CompactString()
		p.Metadata = slices.Clone(r.CompactBytes())
		r.tags(nil)
		m.protocols = append(m.protocols, p)
	}
	r.tags(nil)
	return m
}

func readTarget(value []byte) (partitions, error) {
	r, err := openValue(value)
	if err != nil {
		return nil, err
	}
	target := make(partitions)
	for n := r.CompactArrayLen(); n > 0 && r.Ok(); n-- {
		id := r.Uuid()
		of := append(r.int32s(), target[id]...)
		slices.Sort(of)
		if of = slices.Compact(of); len(of) > 0 {
			target[id] = of
		}
		r.tags(nil)
	}
	return target, r.end(nil)
}

func readCurrent(value []byte) (consumerState, error) {
	var s consumerState
	r, err := openValue(value)
	if err != nil {
		return s, err
	}
	s.epoch = r.Int32()
	s.previousEpoch = r.Int32()
	s.state = memberState(r.Int8())
	s.assigned = r.owned(s.epoch)
	s.revoking = r.owned(s.epoch)
	if s.state < memberStable || s.state > memberUnreleased {
		// Of a later Kafka: begin anew, as after a lost record.
		s = consumerState{epoch: -1, previousEpoch: -1}
	}
	return s, r.end(nil)
}

// owned reads partitions. Before Kafka 4.3 they had no epoch of their own.
func (r *reader) owned(epoch int32) owned {
	var o owned
	for n := r.CompactArrayLen(); n > 0 && r.Ok(); n-- {
		id := r.Uuid()
		of := r.int32s()
		var epochs []int32
		r.tags(func(tag uint32, v *reader) {
			if tag == 0 {
				epochs = v.int32s()
			}
		})
		for i, p := range of {
			if o == nil {
				o = make(owned)
			}
			at := epoch
			if len(epochs) == len(of) {
				at = epochs[i]
			}
			o.put(id, p, at)
		}
	}
	return o
}

func readRegex(value []byte) ([]string, error) {
	r, err := openValue(value)
	if err != nil {
		return nil, err
	}
	topics := distinct(r.strings())
	r.Int64() // version
	r.Int64() // timestamp
	return topics, r.end(nil)
}

// readEpoch reads the values of both keyEpoch and keyTargetEpoch: an epoch and
// a number in tag 0.
func readEpoch(value []byte) (epoch int32, n int64, err error) {
	r, err := openValue(value)
	if err != nil {
		return 0, 0, err
	}
	epoch = r.Int32()
	err = r.end(func(tag uint32, v *reader) {
		if tag == 0 {
			n = v.Int64()
		}
	})
	return epoch, n, err
}

// distinct sorts s and leaves each string once.
func distinct(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}
