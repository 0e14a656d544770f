// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker/internal/seglog"
)

// Fetch (1), versions 4-18: topics by name up to 12, by id from 13 on. Not here
// yet: fetch sessions (each fetch is a full one; clients are told session 0),
// transactions (nothing is ever aborted, and the last stable offset is the high
// watermark), fetches of followers.

// A fetching is a request while it is worked on: the partitions it asks for,
// those that could be found.
type fetching struct {
	b     *Broker
	req   *kmsg.FetchRequest
	resp  *kmsg.FetchResponse
	parts []fetchPart
}

// fetchPart is one partition of a request. resp is set anew by each read.
type fetchPart struct {
	part *partition // nil if resp has the error already
	req  *kmsg.FetchRequestTopicPartition
	resp *kmsg.FetchResponseTopicPartition
	seen int64 // visibleBytes at the last read
}

func (b *Broker) fetch(ctx context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.FetchRequest)
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	if req.SessionID != 0 {
		resp.ErrorCode = kerr.FetchSessionIDNotFound.Code
		return resp
	}
	f := b.newFetching(req, resp)
	defer f.count()
	size, failed := f.read()
	if failed || size >= int(req.MinBytes) || req.MaxWaitMillis <= 0 || len(f.parts) == 0 {
		return resp
	}
	start := time.Now()
	f.park(ctx, size)
	r.conn.timing.Waited(start)
	f.read()
	return resp
}

func (b *Broker) newFetching(req *kmsg.FetchRequest, resp *kmsg.FetchResponse) *fetching {
	f := &fetching{b: b, req: req, resp: resp}
	resp.Topics = make([]kmsg.FetchResponseTopic, len(req.Topics))
	for i := range req.Topics {
		rt, at := &req.Topics[i], &resp.Topics[i]
		at.Default()
		at.Topic, at.TopicID = rt.Topic, rt.TopicID
		at.Partitions = make([]kmsg.FetchResponseTopicPartition, len(rt.Partitions))
		t, code := b.lookup(req.Version >= 13, rt.Topic, rt.TopicID)
		for j := range rt.Partitions {
			fp := fetchPart{req: &rt.Partitions[j], resp: &at.Partitions[j]}
			fp.reset()
			fp.resp.ErrorCode = code
			if code == 0 {
				if fp.part = t.partition(fp.req.Partition); fp.part == nil {
					fp.resp.ErrorCode = kerr.UnknownTopicOrPartition.Code
				}
			}
			f.parts = append(f.parts, fp)
		}
	}
	return f
}

// count adds the answer to the metrics of its topics.
func (f *fetching) count() {
	for i := range f.parts {
		if p := &f.parts[i]; p.part != nil {
			p.part.topic.metrics.Fetched(len(p.resp.RecordBatches), seglog.CountRecords(p.resp.RecordBatches))
		}
	}
}

// reset makes the answer for a partition one without data.
func (p *fetchPart) reset() {
	p.resp.Default()
	p.resp.Partition = p.req.Partition
	p.resp.HighWatermark, p.resp.LastStableOffset, p.resp.LogStartOffset = -1, -1, -1
	p.resp.RecordBatches = []byte{}
}

// read fills the answer in the order of the request, up to the limits. The
// first batch goes out even if it is larger than they allow: its consumer could
// never get past it otherwise.
func (f *fetching) read() (size int, failed bool) {
	left := min(int(f.req.MaxBytes), f.b.cfg.FetchMaxBytes)
	for i := range f.parts {
		p := &f.parts[i]
		if p.part == nil {
			failed = true
			continue
		}
		p.reset()
		limit := min(int(p.req.PartitionMaxBytes), left)
		n, code := f.readPartition(p, limit, size == 0)
		size, left = size+n, left-n
		if code != 0 || p.resp.DivergingEpoch.Epoch >= 0 {
			p.resp.ErrorCode = code
			failed = true
		}
	}
	return size, failed
}

func (f *fetching) readPartition(p *fetchPart, limit int, minOne bool) (n int, code int16) {
	part := p.part
	if part.isGone() {
		if f.req.Version >= 13 {
			return 0, kerr.UnknownTopicID.Code
		}
		return 0, kerr.UnknownTopicOrPartition.Code
	}
	if code := part.checkEpoch(p.req.CurrentLeaderEpoch); code != 0 {
		return 0, code
	}
	p.seen = part.visibleBytes() // before the high watermark: what comes in between is counted, not missed
	hw, from := part.highWatermark(), p.req.FetchOffset
	if from < part.log.LogStartOffset() || from > hw {
		p.resp.HighWatermark, p.resp.LogStartOffset = hw, part.log.LogStartOffset()
		return 0, kerr.OffsetOutOfRange.Code
	}
	if diverges(p, from) {
		return 0, 0
	}
	if from < hw && (limit > 0 || minOne) {
		r, err := part.log.Read(from, max(limit, 0), hw, minOne)
		if err != nil {
			if !errors.Is(err, seglog.ErrOffsetOutOfRange) && !errors.Is(err, seglog.ErrClosed) {
				f.b.log.Error("fetch", "topic", part.topic.name, "partition", part.index, "offset", from, "err", err)
			}
			return 0, codeOf(err)
		}
		p.resp.RecordBatches = r.Data
	}
	p.resp.HighWatermark, p.resp.LastStableOffset, p.resp.LogStartOffset = hw, hw, part.log.LogStartOffset()
	if f.req.IsolationLevel == 1 {
		p.resp.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
	}
	return len(p.resp.RecordBatches), 0
}

// diverges tells a client that has read what this log does not have up to
// where they agree (KIP-595).
func diverges(p *fetchPart, from int64) bool {
	last := p.req.LastFetchedEpoch
	if last < 0 {
		return false
	}
	epoch, end := p.part.log.EndOffsetForEpoch(last)
	if epoch == last && end >= from || epoch < 0 {
		return false
	}
	p.resp.DivergingEpoch.Epoch, p.resp.DivergingEpoch.EndOffset = epoch, end
	return true
}

// checkEpoch compares the leader epoch that a client knows, -1 for none.
func (p *partition) checkEpoch(known int32) int16 {
	switch {
	case known < 0 || known == p.epoch:
		return 0
	case known < p.epoch:
		return kerr.FencedLeaderEpoch.Code
	default:
		return kerr.UnknownLeaderEpoch.Code
	}
}

// park waits until enough has become visible, something ends, or the client's
// patience does. have is the size of what the last read found.
func (f *fetching) park(ctx context.Context, have int) {
	w := newWaiter()
	for i := range f.parts {
		f.parts[i].part.watch(w)
		defer f.parts[i].part.unwatch(w)
	}
	timer := time.NewTimer(time.Duration(f.req.MaxWaitMillis) * time.Millisecond)
	defer timer.Stop()
	for !f.ready(have) {
		select {
		case <-w.wake:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// ready estimates without reading whether the answer would be long enough.
func (f *fetching) ready(have int) bool {
	size := int64(have)
	for i := range f.parts {
		p := &f.parts[i]
		if p.part.isGone() {
			return true
		}
		size += p.part.visibleBytes() - p.seen
	}
	return size >= int64(f.req.MinBytes)
}
