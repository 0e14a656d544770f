// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millrace/millrace/broker/internal/seglog"
)

// beginAt lets the partition come first that got nothing the last time. In a
// session the order says that already.
func (f *fetching) beginAt(starved *partKey) {
	if f.session != nil || starved == nil {
		return
	}
	f.first = max(0, slices.IndexFunc(f.parts, func(p fetchPart) bool { return p.partKey == *starved }))
}

// each calls fn for the partitions in the order they are read.
func (f *fetching) each(fn func(p *fetchPart)) {
	for i := range f.parts {
		fn(&f.parts[(f.first+i)%len(f.parts)])
	}
}

// read finds what there is to answer, up to the limits. The first batch goes out
// even if it is larger than they allow: its consumer could never get past it
// otherwise.
func (f *fetching) read() (size int, failed bool) {
	left := min(int(f.req.MaxBytes), f.b.cfg.FetchMaxBytes)
	f.each(func(p *fetchPart) {
		p.reset()
		p.code = f.readPartition(p, min(int(p.maxBytes), left), size == 0)
		size, left = size+p.slice.Len(), left-p.slice.Len()
		failed = failed || p.code != 0 || p.diverged != nil
	})
	return size, failed
}

// replica tells whether the request is that of a follower: there are none.
func (f *fetching) replica() bool {
	return f.req.Version < 15 && f.req.ReplicaID >= 0 || f.req.Version >= 15 && f.req.ReplicaState.ID >= 0
}

// reset makes the answer for a partition one without data.
func (p *fetchPart) reset() {
	p.slice.Release()
	p.code, p.hw, p.logStart, p.diverged = 0, -1, -1, nil
}

// starved is the first partition with something to read that the limits have left
// without, nil if there is none.
func (f *fetching) starved() *partKey {
	var first *partKey
	f.each(func(p *fetchPart) {
		if first == nil && p.code == 0 && p.diverged == nil && p.slice.Len() == 0 && p.offset < p.hw {
			k := p.partKey // a copy: it outlives the request
			first = &k
		}
	})
	return first
}

func (f *fetching) readPartition(p *fetchPart, limit int, minOne bool) (code int16) {
	part := p.part
	if part == nil || part.isGone() {
		if !byID(f.req) {
			return kerr.UnknownTopicOrPartition.Code
		}
		if f.b.topics.withID(p.id) == nil {
			return kerr.UnknownTopicID.Code
		}
		return kerr.UnknownTopicOrPartition.Code
	}
	if f.replica() {
		return kerr.NotLeaderForPartition.Code
	}
	if code := part.checkEpoch(max(p.leaderEpoch, -1)); code != 0 {
		return code
	}
	p.seen = part.visibleBytes() // before the high watermark: what comes in between is counted, not missed
	hw, logStart := part.highWatermark(), part.log.LogStartOffset()
	if diverges, code := p.diverges(); diverges || code != 0 {
		if code == 0 {
			p.hw, p.logStart = hw, logStart
		}
		return code
	}
	if p.offset < logStart || p.offset > hw {
		return kerr.OffsetOutOfRange.Code
	}
	if p.maxBytes < 0 || f.req.MaxBytes < 0 {
		return kerr.UnknownServerError.Code // Kafka's code
	}
	p.hw, p.logStart = hw, logStart
	if p.offset == hw || limit <= 0 && !minOne {
		return 0
	}
	s, err := part.log.Slice(p.offset, max(limit, 0), hw, minOne)
	if err != nil {
		f.b.logFetch(part, p.offset, err)
		p.hw, p.logStart = -1, -1
		return codeOf(err)
	}
	p.slice = s
	return 0
}

// logFetch reports what the disk has done.
func (b *Broker) logFetch(part *partition, offset int64, err error) {
	if !errors.Is(err, seglog.ErrOffsetOutOfRange) && !errors.Is(err, seglog.ErrClosed) {
		b.log.Error("fetch", "topic", part.topic.name, "partition", part.index, "offset", offset, "err", err)
	}
}

// diverges tells a client that has read what this log does not have up to
// where they agree (KIP-595). Of an epoch that is not known yet nothing can be
// said: the offset is out of range, as Kafka has it.
func (p *fetchPart) diverges() (bool, int16) {
	if p.lastEpoch < 0 {
		return false, 0
	}
	epoch, end := p.part.log.EndOffsetForEpoch(p.lastEpoch)
	switch {
	case epoch < 0 && p.lastEpoch > p.part.epoch:
		return false, kerr.OffsetOutOfRange.Code
	case epoch == p.lastEpoch && end >= p.offset, epoch < 0:
		return false, 0
	}
	p.diverged = &epochEnd{epoch, end}
	return true, 0
}

// epochAt is the leader epoch of the record at offset, be it there or to come.
func (p *partition) epochAt(offset int64) int32 {
	if offset >= p.log.LogEndOffset() {
		return p.epoch
	}
	return p.log.EpochAt(offset)
}

// checkEpoch compares the leader epoch that a client knows, -1 for none.
func (p *partition) checkEpoch(known int32) int16 {
	switch {
	case known == -1 || known == p.epoch:
		return 0
	case known < p.epoch:
		return kerr.FencedLeaderEpoch.Code
	default:
		return kerr.UnknownLeaderEpoch.Code
	}
}
