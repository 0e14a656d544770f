// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A fetchAnswer is the answer to a fetch. Its records are still where they lie:
// kmsg would have them in memory, all of them.
type fetchAnswer struct {
	*kmsg.FetchResponse // without its topics
	b                   *Broker
	topics              []fetchedTopic
	committed           bool // of isolation level read_committed
}

// A fetchedTopic has the partitions of one topic, in the order of the answer.
type fetchedTopic struct {
	key   partKey // its partition means nothing
	parts []*fetchPart
}

// finish makes the answer, and notes in the session what it tells.
func (f *fetching) finish(resp *kmsg.FetchResponse) *fetchAnswer {
	if f.session != nil {
		resp.SessionID = f.session.id
		f.session.news(f)
	}
	a := &fetchAnswer{FetchResponse: resp, b: f.b, committed: f.req.IsolationLevel == 1}
	at := make(map[partKey]int)
	for i := range f.parts {
		p := &f.parts[i]
		k := p.partKey
		k.partition = 0
		n, ok := at[k]
		if !ok {
			n = len(a.topics)
			at[k] = n
			a.topics = append(a.topics, fetchedTopic{key: k})
		}
		a.topics[n].parts = append(a.topics[n].parts, p)
	}
	return a
}

// appendTo appends the answer's fields to out, in the shape of its version, and
// hands it the slices.
func (a *fetchAnswer) appendTo(out *answer) {
	version, flexible := a.Version, a.IsFlexible()
	b := kbin.AppendInt32(out.buf, a.ThrottleMillis)
	if version >= 7 {
		b = kbin.AppendInt16(b, a.ErrorCode)
		b = kbin.AppendInt32(b, a.SessionID)
	}
	b = appendArrayLen(b, flexible, len(a.topics))
	for i := range a.topics {
		t := &a.topics[i]
		switch {
		case version >= 13:
			b = kbin.AppendUuid(b, t.key.id)
		case flexible:
			b = kbin.AppendCompactString(b, t.key.name)
		default:
			b = kbin.AppendString(b, t.key.name)
		}
		b = appendArrayLen(b, flexible, len(t.parts))
		for _, p := range t.parts {
			out.buf = b
			a.appendPart(out, p)
			b = out.buf
		}
		b = appendNoTags(b, flexible)
	}
	if flexible {
		b = a.appendNodes(b)
	}
	out.buf = b
}

// appendPart appends a partition. Records that can't be read become an error, if
// that shows in time.
func (a *fetchAnswer) appendPart(out *answer, p *fetchPart) {
	at := len(out.buf)
	a.appendHead(out, p)
	if err := out.take(&p.slice); err != nil {
		a.b.logFetch(p.part, p.offset, err)
		p.slice.Release()
		p.code, p.hw, p.logStart = kerr.KafkaStorageError.Code, -1, -1
		out.buf = out.buf[:at]
		a.appendHead(out, p)
	}
	if !a.IsFlexible() {
		return
	}
	switch {
	case p.diverged != nil:
		b := append(out.buf, 1, 0, 4+8+1) // one: tag 0 and its length
		b = kbin.AppendInt32(b, p.diverged.epoch)
		b = kbin.AppendInt64(b, p.diverged.end)
		out.buf = append(b, 0)
	case a.hints(p):
		b := append(out.buf, 1, 1, 4+4+1) // one: tag 1 and its length
		b = kbin.AppendInt32(b, a.b.cfg.NodeID)
		b = kbin.AppendInt32(b, p.part.epoch)
		out.buf = append(b, 0)
	default:
		out.buf = append(out.buf, 0) // no tagged fields
	}
}

// hints tells whether the answer says who leads a partition (KIP-951): to a client
// that knows an old leader epoch, or takes itself for a follower.
func (a *fetchAnswer) hints(p *fetchPart) bool {
	return a.Version >= 16 && p.part != nil && (p.code == kerr.FencedLeaderEpoch.Code || p.code == kerr.NotLeaderForPartition.Code)
}

// appendNodes appends where the leaders are that partitions name: one node. Followers
// know it.
func (a *fetchAnswer) appendNodes(b []byte) []byte {
	toClient := func(p *fetchPart) bool { return a.hints(p) && p.code == kerr.FencedLeaderEpoch.Code }
	for i := range a.topics {
		if slices.ContainsFunc(a.topics[i].parts, toClient) {
			node := kbin.AppendInt32([]byte{2}, a.b.cfg.NodeID) // an array of one
			node = kbin.AppendCompactString(node, a.b.host)
			node = kbin.AppendInt32(node, a.b.port)
			node = append(node, 0, 0)                                  // no rack, no tagged fields
			b = kbin.AppendUvarint(append(b, 1, 0), uint32(len(node))) // one: tag 0 and its length
			return append(b, node...)
		}
	}
	return append(b, 0)
}

// appendHead appends what comes before the records of a partition.
func (a *fetchAnswer) appendHead(out *answer, p *fetchPart) {
	version, flexible := a.Version, a.IsFlexible()
	b := kbin.AppendInt32(out.buf, p.partition)
	b = kbin.AppendInt16(b, p.code)
	b = kbin.AppendInt64(b, p.hw)
	b = kbin.AppendInt64(b, p.hw) // the last stable offset
	if version >= 5 {
		b = kbin.AppendInt64(b, p.logStart)
	}
	b = a.appendAborted(b, p)
	if version >= 11 {
		b = kbin.AppendInt32(b, -1) // no replica is better to read from
	}
	if flexible {
		b = kbin.AppendUvarint(b, uint32(p.slice.Len())+1)
	} else {
		b = kbin.AppendInt32(b, int32(p.slice.Len()))
	}
	out.buf = b
}

// appendAborted appends the transactions that were aborted: none, and null for who
// reads what is not committed too. Partitions that are not there have none.
func (a *fetchAnswer) appendAborted(b []byte, p *fetchPart) []byte {
	missing := p.part == nil && (p.code == kerr.UnknownTopicOrPartition.Code || p.code == kerr.UnknownTopicID.Code)
	null := !missing && (!a.committed || p.code != 0 || p.diverged != nil)
	if a.IsFlexible() {
		return kbin.AppendCompactNullableArrayLen(b, 0, null)
	}
	return kbin.AppendNullableArrayLen(b, 0, null)
}

func appendArrayLen(b []byte, flexible bool, n int) []byte {
	if flexible {
		return kbin.AppendCompactArrayLen(b, n)
	}
	return kbin.AppendArrayLen(b, n)
}

func appendNoTags(b []byte, flexible bool) []byte {
	if flexible {
		b = append(b, 0)
	}
	return b
}
