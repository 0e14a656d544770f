// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link/batch"
)

// records is an intake of the client's own records.
type records struct {
	size   *fetchSize
	client *kgo.Client
}

func (r *records) options() []kgo.Opt {
	return []kgo.Opt{
		kgo.WithHooks(r.size),
		kgo.BlockRebalanceOnPoll(), // what Poll gave is handed on before partitions change hands
	}
}

func (r *records) use(client *kgo.Client) {
	r.client = client
	r.size.use(client)
}

// begin moves partitions without a committed offset to where their topics begin.
func (r *records) begin(offsets map[string]map[int32]kgo.Offset, resets map[string]plan.Reset) map[string]map[int32]kgo.Offset {
	for topic, r := range resets {
		for p, o := range offsets[topic] {
			switch {
			case o.EpochOffset().Offset >= 0: // committed
			case r.From == plan.ResetEnd:
				offsets[topic][p] = kgo.NewOffset().AtEnd()
			case r.From == plan.ResetAgo:
				offsets[topic][p] = kgo.NewOffset().AfterMilli(time.Now().UnixMilli() - r.AgoMs)
			}
		}
	}
	return offsets
}

func (r *records) assigned(client *kgo.Client, parts []Partition, handler func()) {
	client.PauseFetchPartitions(numbers(parts))
	handler()
}

func (r *records) gone(_ []Partition, handler func()) { handler() }

func (r *records) poll(ctx context.Context) ([]Batch, error) {
	fetches := r.client.PollFetches(ctx)
	if fetches.IsClientClosed() {
		return nil, ErrClosed
	}
	var batches []Batch
	var errs []error
	for _, f := range fetches {
		for i := range f.Topics {
			t := &f.Topics[i]
			for j := range t.Partitions {
				p := &t.Partitions[j]
				if p.Err != nil {
					errs = append(errs, fetchError(ctx, Partition{t.Topic, p.Partition}, p.Err))
				}
				if len(p.Records) > 0 {
					batches = append(batches, batchOf(t.Topic, p))
				}
			}
		}
	}
	return batches, errors.Join(errs...)
}

func (r *records) delivered() { r.client.AllowRebalance() }

func (r *records) pause(parts []Partition) { r.client.PauseFetchPartitions(numbers(parts)) }

func (r *records) resume(parts []Partition) { r.client.ResumeFetchPartitions(numbers(parts)) }

func (r *records) seek(to map[Partition]int64) {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	for p, offset := range to {
		if offsets[p.Topic] == nil {
			offsets[p.Topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[p.Topic][p.Num] = kgo.EpochOffset{Epoch: -1, Offset: offset}
	}
	r.client.SetOffsets(offsets)
}

// stop and wait leave it to the client's end.
func (r *records) stop() {}

func (r *records) wait() {}

func batchOf(topic string, p *kgo.FetchPartition) Batch {
	b := Batch{Partition: Partition{topic, p.Partition}, End: p.HighWatermark}
	if p.LastStableOffset >= 0 {
		b.End = p.LastStableOffset
	}
	b.Records = make([]plan.Raw, len(p.Records))
	for i, r := range p.Records {
		b.Records[i] = raw(r)
		b.Bytes += recordBytes(r)
	}
	return b
}

// recordBytes is about the memory of a record.
func recordBytes(r *kgo.Record) int64 {
	n := batch.RecordCost + int64(len(r.Key)+len(r.Value))
	for _, h := range r.Headers {
		n += int64(len(h.Key) + len(h.Value))
	}
	return n
}

// raw gives a fetched record as the engine knows it. Its slices are those of the
// fetch.
func raw(r *kgo.Record) plan.Raw {
	p := plan.Raw{
		Key: r.Key, Value: r.Value, Timestamp: r.Timestamp.UnixMilli(), Offset: r.Offset, Epoch: r.LeaderEpoch,
	}
	if len(r.Headers) > 0 {
		p.Headers = make([]plan.Header, len(r.Headers))
		for i, h := range r.Headers {
			p.Headers[i] = plan.Header(h)
		}
	}
	return p
}
