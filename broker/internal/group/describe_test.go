// SPDX-License-Identifier: Apache-2.0

package group

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var codeNames = map[int16]string{
	errNone:                      "OK",
	errUnknownServerError:        "UNKNOWN_SERVER_ERROR",
	errUnknownTopicOrPartition:   "UNKNOWN_TOPIC_OR_PARTITION",
	errOffsetMetadataTooLarge:    "OFFSET_METADATA_TOO_LARGE",
	errCoordinatorLoadInProgress: "COORDINATOR_LOAD_IN_PROGRESS",
	errCoordinatorNotAvailable:   "COORDINATOR_NOT_AVAILABLE",
	errIllegalGeneration:         "ILLEGAL_GENERATION",
	errInconsistentGroupProtocol: "INCONSISTENT_GROUP_PROTOCOL",
	errInvalidGroupID:            "INVALID_GROUP_ID",
	errUnknownMemberID:           "UNKNOWN_MEMBER_ID",
	errInvalidSessionTimeout:     "INVALID_SESSION_TIMEOUT",
	errRebalanceInProgress:       "REBALANCE_IN_PROGRESS",
	errInvalidRequest:            "INVALID_REQUEST",
	errNonEmptyGroup:             "NON_EMPTY_GROUP",
	errGroupIDNotFound:           "GROUP_ID_NOT_FOUND",
	errMemberIDRequired:          "MEMBER_ID_REQUIRED",
	errGroupMaxSizeReached:       "GROUP_MAX_SIZE_REACHED",
	errFencedInstanceID:          "FENCED_INSTANCE_ID",
	errUnknownTopicID:            "UNKNOWN_TOPIC_ID",
	errUnsupportedVersion:        "UNSUPPORTED_VERSION",
	errGroupSubscribedToTopic:    "GROUP_SUBSCRIBED_TO_TOPIC",
	errFencedMemberEpoch:         "FENCED_MEMBER_EPOCH",
	errUnreleasedInstanceID:      "UNRELEASED_INSTANCE_ID",
	errUnsupportedAssignor:       "UNSUPPORTED_ASSIGNOR",
	errStaleMemberEpoch:          "STALE_MEMBER_EPOCH",
	errInvalidRegularExpression:  "INVALID_REGULAR_EXPRESSION",
}

func codeName(code int16) string {
	if name, ok := codeNames[code]; ok {
		return name
	}
	return fmt.Sprint("code ", code)
}

// describe returns the body of a reply as one line.
func describe(body any) string {
	switch r := body.(type) {
	case *kmsg.JoinGroupResponse:
		if r.ErrorCode != errNone {
			return strings.TrimSpace(codeName(r.ErrorCode) + " " + r.MemberID)
		}
		s := fmt.Sprintf("%s gen=%d protocol=%s leader=%s", r.MemberID, r.Generation, *r.Protocol, r.LeaderID)
		if r.SkipAssignment {
			s += " skip"
		}
		for i, m := range r.Members {
			s += []string{" ", " members="}[b2i(i == 0)] + m.MemberID
		}
		return s
	case *kmsg.SyncGroupResponse:
		if r.ErrorCode != errNone {
			return codeName(r.ErrorCode)
		}
		return fmt.Sprintf("assigned %q", r.MemberAssignment)
	case *kmsg.HeartbeatResponse:
		return codeName(r.ErrorCode)
	case *kmsg.LeaveGroupResponse:
		s := codeName(r.ErrorCode)
		for _, m := range r.Members {
			s += " " + codeName(m.ErrorCode)
		}
		return s
	case *kmsg.OffsetCommitResponse:
		var s []string
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				s = append(s, codeName(p.ErrorCode))
			}
		}
		return strings.Join(s, " ")
	case []fetched:
		var s []string
		for _, f := range r {
			s = append(s, fmt.Sprintf("%s/%d=%d", f.topic, f.partition, f.offset))
			if f.committed.metadata != "" {
				s = append(s, fmt.Sprintf("%q", f.committed.metadata))
			}
		}
		return strings.Join(s, " ")
	case kmsg.DescribeGroupsResponseGroup:
		s := fmt.Sprintf("%s %s protocol=%s/%s", codeName(r.ErrorCode), r.State, r.ProtocolType, r.Protocol)
		for _, m := range r.Members {
			s += fmt.Sprintf(" %s=%q", m.MemberID, m.MemberAssignment)
			if m.InstanceID != nil {
				s += "@" + *m.InstanceID
			}
		}
		return s
	case *kmsg.ConsumerGroupHeartbeatResponse:
		if r.ErrorCode != errNone {
			return codeName(r.ErrorCode)
		}
		s := fmt.Sprintf("%s epoch=%d", *r.MemberID, r.MemberEpoch)
		if r.Assignment != nil {
			p := make(partitions)
			for _, t := range r.Assignment.Topics {
				p[t.TopicID] = t.Partitions
			}
			s += " has " + partitionsText(p)
		}
		return s
	case kmsg.ConsumerGroupDescribeResponseGroup:
		s := fmt.Sprintf("%s %s epoch=%d/%d %s", codeName(r.ErrorCode), r.State, r.Epoch, r.AssignmentEpoch, r.AssignorName)
		for _, m := range r.Members {
			s += fmt.Sprintf(" %s(%d)@%d has %s of %s", m.MemberID, m.MemberType, m.MemberEpoch, described(m.Assignment), described(m.TargetAssignment))
		}
		return s
	case *kmsg.OffsetDeleteResponse:
		s := codeName(r.ErrorCode)
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				s += " " + codeName(p.ErrorCode)
			}
		}
		return s
	case []kmsg.ListGroupsResponseGroup:
		var s []string
		for _, g := range r {
			name := g.Group + ":" + g.GroupState
			if g.GroupType != classicType {
				name += "(" + g.GroupType + ")"
			}
			s = append(s, name)
		}
		return strings.Join(s, " ")
	case int16:
		return codeName(r)
	default:
		return fmt.Sprintf("%+v", body)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// describeRecord returns a record of the log as one line.
func describeRecord(r Record) string {
	if v := binary.BigEndian.Uint16(r.Key); v > keyGroup {
		return describeModern(int16(v), r)
	}
	if r.Key[1] == keyGroup {
		var k kmsg.GroupMetadataKey
		var v kmsg.GroupMetadataValue
		_ = k.ReadFrom(r.Key)
		if r.Value == nil {
			return "group " + k.Group + " deleted"
		}
		_ = v.ReadFrom(r.Value)
		s := fmt.Sprintf("group %s gen=%d", k.Group, v.Generation)
		for _, m := range v.Members {
			s += fmt.Sprintf(" %s=%q", m.MemberID, m.Assignment)
		}
		return s
	}
	var k kmsg.OffsetCommitKey
	var v kmsg.OffsetCommitValue
	_ = k.ReadFrom(r.Key)
	if r.Value == nil {
		return fmt.Sprintf("offset %s %s/%d deleted", k.Group, k.Topic, k.Partition)
	}
	_ = v.ReadFrom(r.Value)
	return fmt.Sprintf("offset %s %s/%d=%d", k.Group, k.Topic, k.Partition, v.Offset)
}

func described(a kmsg.Assignment) string {
	p := make(partitions)
	for _, t := range a.TopicPartitions {
		p[t.TopicID] = t.Partitions
	}
	return partitionsText(p)
}

// describeModern describes a record of a consumer group.
func describeModern(version int16, r Record) string {
	k := reader{kbin.Reader{Src: r.Key[2:]}}
	name := map[int16]string{
		keyEpoch: "epoch", keyPartitionMeta: "old", keyMember: "member", keyTargetEpoch: "targets",
		keyTarget: "target", keyCurrent: "current", keyRegex: "regex",
	}[version] + " " + k.String()
	if len(k.Src) > 0 {
		name += " " + k.String()
	}
	if r.Value == nil {
		return name + " deleted"
	}
	switch version {
	case keyEpoch, keyTargetEpoch:
		epoch, _, err := readEpoch(r.Value)
		return fmt.Sprint(name, " ", epoch, orNothing(err))
	case keyMember:
		m, err := readMember("", r.Value)
		s := fmt.Sprintf("%s topics=%v", name, m.topics)
		if m.regex != "" {
			s += " regex=" + m.regex
		}
		if m.classic != nil {
			s += " classic"
		}
		return s + orNothing(err)
	case keyTarget:
		p, err := readTarget(r.Value)
		return name + " " + partitionsText(p) + orNothing(err)
	case keyCurrent:
		s, err := readCurrent(r.Value)
		out := fmt.Sprintf("%s %d->%d %s", name, s.previousEpoch, s.epoch, ownedText(s.assigned))
		if len(s.revoking) > 0 {
			out += " revokes " + ownedText(s.revoking)
		}
		return out + []string{"", "", " waits"}[s.state] + orNothing(err)
	case keyRegex:
		topics, err := readRegex(r.Value)
		return fmt.Sprint(name, " ", topics, orNothing(err))
	}
	return name
}

func orNothing(err error) string {
	if err != nil {
		return " " + err.Error()
	}
	return ""
}
