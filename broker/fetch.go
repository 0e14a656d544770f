// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker/internal/seglog"
)

// Fetch (1), versions 4-18: topics by name up to 12, by id from 13 on, with
// incremental sessions from 7 on (fetch_session.go). Not here yet: transactions
// (nothing is ever aborted, and the last stable offset is the high watermark),
// fetches of followers.

// A fetching is a request while it is worked on.
type fetching struct {
	b       *Broker
	req     *kmsg.FetchRequest
	session *fetchSession // nil: none
	full    bool          // all partitions are answered, not only those with news
	parts   []fetchPart   // those asked for, in the order of the answer
	first   int           // the one that is read first; the others follow, round
}

// A partKey names a partition as the version of the request does: by the name or
// by the id of its topic.
type partKey struct {
	name      string
	id        topicID
	partition int32
}

// wanted is what a client asks of a partition.
type wanted struct {
	offset      int64
	maxBytes    int32
	leaderEpoch int32 // that the client knows, -1: none
	lastEpoch   int32 // of the last batch it has, -1: not said
}

// fetchPart is one partition of a request and what is answered for it.
type fetchPart struct {
	partKey
	wanted
	part   *partition   // nil: there is none
	member *sessionPart // of the session; nil: without one
	seen   int64        // visibleBytes at the last read

	code     int16
	hw       int64 // and the last stable offset
	logStart int64
	diverged *epochEnd // where the client's log and this one agree, if they don't in the end
	slice    seglog.Slice
}

// An epochEnd is a leader epoch and the offset after its last record.
type epochEnd struct {
	epoch int32
	end   int64
}

func (b *Broker) fetch(ctx context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.FetchRequest)
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	if req.IsolationLevel != 0 && req.IsolationLevel != 1 {
		return refuseFetch(req, resp, kerr.UnknownServerError.Code) // Kafka's code
	}
	f, code := b.beginFetch(req)
	if code != 0 {
		resp.ErrorCode = code
		return resp
	}
	f.beginAt(r.conn.starved)
	size, failed := f.read()
	if !failed && size < int(req.MinBytes) && req.MaxWaitMillis > 0 && len(f.parts) > 0 {
		f.release()
		start := time.Now()
		f.park(ctx, size)
		r.conn.timing.Waited(start)
		f.read()
	}
	r.conn.starved = f.starved()
	f.count()
	return f.finish(resp)
}

// refuseFetch refuses a request as a whole, with the partitions that it names where
// they go by name.
func refuseFetch(req *kmsg.FetchRequest, resp *kmsg.FetchResponse, code int16) kmsg.Response {
	resp.ErrorCode = code
	for i := range req.Topics {
		if byID(req) {
			break
		}
		at := kmsg.NewFetchResponseTopic()
		at.Topic = req.Topics[i].Topic
		for j := range req.Topics[i].Partitions {
			ap := kmsg.NewFetchResponseTopicPartition()
			ap.Partition, ap.ErrorCode, ap.HighWatermark = req.Topics[i].Partitions[j].Partition, code, -1
			ap.AbortedTransactions, ap.RecordBatches = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}, []byte{}
			at.Partitions = append(at.Partitions, ap)
		}
		resp.Topics = append(resp.Topics, at)
	}
	return resp
}

// beginFetch finds what a request asks for, by itself or by its session. code is
// what refuses the session.
func (b *Broker) beginFetch(req *kmsg.FetchRequest) (_ *fetching, code int16) {
	f := &fetching{b: b, req: req, full: req.SessionEpoch == firstEpoch || req.SessionEpoch == finalEpoch}
	if !f.full {
		return f, b.sessions.resume(f)
	}
	if req.SessionID != 0 {
		b.sessions.remove(req.SessionID)
	}
	eachWanted(req, func(k partKey, w wanted) {
		f.parts = append(f.parts, fetchPart{partKey: k, wanted: w, part: b.find(req, k)})
	})
	if req.SessionEpoch == firstEpoch {
		b.sessions.begin(f)
	}
	return f, 0
}

// eachWanted calls fn for each partition that a request names.
func eachWanted(req *kmsg.FetchRequest, fn func(partKey, wanted)) {
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			fn(keyOf(req, t.Topic, t.TopicID, p.Partition), wanted{p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LastFetchedEpoch})
		}
	}
}

func keyOf(req *kmsg.FetchRequest, name string, id topicID, partition int32) partKey {
	if byID(req) {
		return partKey{id: id, partition: partition}
	}
	return partKey{name: name, partition: partition}
}

// byID tells whether a request names topics by their ids.
func byID(req *kmsg.FetchRequest) bool { return req.Version >= 13 }

// find returns the partition, or nil.
func (b *Broker) find(req *kmsg.FetchRequest, k partKey) *partition {
	t, code := b.lookup(byID(req), k.name, k.id)
	if code != 0 {
		return nil
	}
	return t.partition(k.partition)
}

// count adds the answer to the metrics of its topics. Records are counted by
// offsets, which is what the headers of batches claim but for compacted logs.
func (f *fetching) count() {
	for i := range f.parts {
		if p := &f.parts[i]; p.part != nil && p.slice.Len() > 0 {
			p.part.topic.metrics.Fetched(p.slice.Len(), p.slice.NextOffset-p.offset)
		}
	}
}

// release gives all slices back.
func (f *fetching) release() {
	for i := range f.parts {
		f.parts[i].slice.Release()
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
