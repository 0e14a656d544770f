// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/runtime/link/batch"
)

// secondWait is how long a fetch on the second way to a broker waits at first: who begins
// to flow then waits no longer than that. It doubles while nothing comes.
const secondWait = 100 * time.Millisecond

// request sends a job's request and reads the answer, in the order of its items.
func (f *fetcher) request(ctx context.Context, j *job) ([]*answer, error) {
	client := f.link.main // which asks for the leaders, and so knows where the brokers are
	if j.way.second {
		client = f.client
	}
	var req kmsg.Request
	all, part := f.size.bounds()
	switch j.what {
	case listing:
		req = listRequest(j)
	case checking:
		req = checkRequest(j)
	case fetching:
		r := fetchRequest(j, part)
		wait := f.maxWait
		if j.way.second {
			wait = min(wait, secondWait<<min(j.rounds, 10))
		}
		r.MaxWaitMillis, r.MinBytes, r.MaxBytes = int32(wait.Milliseconds()), f.minWant, all
		req = r
	case nothing:
		return nil, errors.New("nothing to ask")
	}
	resp, err := client.Broker(int(j.way.node)).Request(ctx, req)
	if err != nil {
		return nil, err
	}
	answers := make([]*answer, len(j.items))
	switch resp := resp.(type) {
	case *kmsg.ListOffsetsResponse:
		j.listed(resp, answers)
	case *kmsg.OffsetForLeaderEpochResponse:
		j.checked(resp, answers)
	case *kmsg.FetchResponse:
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return nil, err
		}
		f.fetched(j, resp, answers)
	}
	return answers, nil
}

// index finds the items of a job by partition.
func (j *job) index() map[Partition]int {
	at := make(map[Partition]int, len(j.items))
	for i := range j.items {
		at[j.items[i].part] = i
	}
	return at
}

// grouped calls f for each topic of a job with its items.
func (j *job) grouped(f func(topic string, id [16]byte, items []item)) {
	var order []string
	by := map[string][]item{}
	for _, it := range j.items {
		if by[it.part.Topic] == nil {
			order = append(order, it.part.Topic)
		}
		by[it.part.Topic] = append(by[it.part.Topic], it)
	}
	for _, topic := range order {
		f(topic, by[topic][0].id, by[topic])
	}
}

func listRequest(j *job) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	req.IsolationLevel = 1
	j.grouped(func(topic string, _ [16]byte, items []item) {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		for _, it := range items {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.CurrentLeaderEpoch, p.Timestamp = it.part.Num, it.leads, it.at
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	})
	return req
}

func checkRequest(j *job) *kmsg.OffsetForLeaderEpochRequest {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = -1
	j.grouped(func(topic string, _ [16]byte, items []item) {
		t := kmsg.NewOffsetForLeaderEpochRequestTopic()
		t.Topic = topic
		for _, it := range items {
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = it.part.Num, it.leads, it.epoch
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	})
	return req
}

func fetchRequest(j *job, part int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.IsolationLevel, req.SessionEpoch = -1, 1, -1
	j.grouped(func(topic string, id [16]byte, items []item) {
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = topic, id
		for _, it := range items {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.CurrentLeaderEpoch, p.FetchOffset, p.PartitionMaxBytes = it.part.Num, it.leads, it.offset, part
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	})
	return req
}

// refusal is an answer with an error code.
func refusal(err error) *answer {
	return &answer{err: err, again: kerr.IsRetriable(err), out: errors.Is(err, kerr.OffsetOutOfRange)}
}

func (j *job) listed(resp *kmsg.ListOffsetsResponse, answers []*answer) {
	at := j.index()
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			i, ok := at[Partition{t.Topic, p.Partition}]
			if !ok {
				continue
			}
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				answers[i] = refusal(fmt.Errorf("list offsets: %w", err))
				continue
			}
			answers[i] = &answer{offset: p.Offset, epoch: p.LeaderEpoch}
		}
	}
}

func (j *job) checked(resp *kmsg.OffsetForLeaderEpochResponse, answers []*answer) {
	at := j.index()
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			i, ok := at[Partition{t.Topic, p.Partition}]
			if !ok {
				continue
			}
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				answers[i] = refusal(fmt.Errorf("ask for the end of epoch %d: %w", j.items[i].epoch, err))
				continue
			}
			answers[i] = &answer{offset: p.EndOffset, epoch: p.LeaderEpoch}
		}
	}
}

func (f *fetcher) fetched(j *job, resp *kmsg.FetchResponse, answers []*answer) {
	at := j.index()
	names := map[[16]byte]string{}
	for i := range j.items {
		names[j.items[i].id] = j.items[i].part.Topic
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		name := t.Topic
		if name == "" {
			name = names[t.TopicID]
		}
		for k := range t.Partitions {
			rp := &t.Partitions[k]
			if i, ok := at[Partition{name, rp.Partition}]; ok && answers[i] == nil {
				answers[i] = f.answer(&j.items[i], rp)
			}
		}
	}
}

// answer decodes what has come of a partition.
func (f *fetcher) answer(it *item, rp *kmsg.FetchResponseTopicPartition) *answer {
	if err := kerr.ErrorForCode(rp.ErrorCode); err != nil {
		return refusal(err)
	}
	a := &answer{end: rp.HighWatermark, some: len(rp.RecordBatches) > 0}
	if rp.LastStableOffset >= 0 {
		a.end = rp.LastStableOffset
	}
	var err error
	if a.Fetched, err = decode(it.part, it.offset, rp, f.decomp); err != nil {
		return refusal(err)
	}
	if a.Stored > 0 {
		f.size.add(a.Stored, a.Memory)
	}
	return a
}

// decode reads what has come of a partition from an offset on. An error comes when it is
// all there is: what comes before it is good.
func decode(p Partition, offset int64, rp *kmsg.FetchResponseTopicPartition, decomp kgo.Decompressor) (batch.Fetched, error) {
	got, err := batch.Decode(rp.RecordBatches, offset, rp.AbortedTransactions, decomp)
	switch {
	case got.Next > offset:
		return got, nil
	case errors.Is(err, batch.ErrFormat):
		return decodeOld(p, offset, rp, decomp)
	}
	return got, err
}

// decodeOld is decode where the first batch has a format before version 2.
func decodeOld(p Partition, offset int64, rp *kmsg.FetchResponseTopicPartition, decomp kgo.Decompressor) (batch.Fetched, error) {
	got := batch.Fetched{Next: offset, Epoch: -1}
	fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: offset, IsolationLevel: kgo.ReadCommitted(), Topic: p.Topic, Partition: p.Num,
	}, rp, decomp, func(m kgo.FetchBatchMetrics) {
		got.Stored += batchHead + m.CompressedBytes
		got.Memory += m.UncompressedBytes + clientRecord*m.NumRecords
	})
	if fp.Err != nil && len(fp.Records) == 0 {
		return got, fp.Err
	}
	for _, r := range fp.Records {
		got.Records = append(got.Records, raw(r))
		got.Bytes += recordBytes(r)
		got.Epoch = r.LeaderEpoch
	}
	got.Next = max(got.Next, next)
	return got, nil
}
