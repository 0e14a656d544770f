// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
)

// parked returns a request that waits for min bytes for up to ten minutes.
func parkedFetch(offset int64, minBytes int32) *kmsg.FetchRequest {
	req := fetchRequest("t", offset)
	req.MinBytes, req.MaxWaitMillis = minBytes, 600_000
	return req
}

func TestFetchWaits(t *testing.T) {
	tests := []struct {
		name string
		min  int32
		wait int32 // ms
		then func(t *testing.T, b *broker.Broker, c *client)
		want []string
		code *kerr.Error
		took time.Duration
	}{
		{
			name: "an append wakes it", min: 1, wait: 60_000, want: []string{"x"}, took: 3 * time.Second,
			then: func(t *testing.T, b *broker.Broker, c *client) { mustProduce(c, "t", "x") },
		},
		{
			name: "an append that is not enough does not", min: 1000, wait: 60_000, want: []string{"x"}, took: time.Minute,
			then: func(t *testing.T, b *broker.Broker, c *client) { mustProduce(c, "t", "x") },
		},
		{
			name: "several appends are enough together", min: 200, wait: 60_000, want: []string{"x", "y", "z"}, took: 3 * time.Second,
			then: func(t *testing.T, b *broker.Broker, c *client) {
				mustProduce(c, "t", "x")
				mustProduce(c, "t", "y")
				mustProduce(c, "t", "z")
			},
		},
		{
			name: "nothing comes", min: 1, wait: 500, want: []string{}, took: 500 * time.Millisecond,
			then: func(t *testing.T, b *broker.Broker, c *client) {},
		},
		{
			name: "the topic is deleted", min: 1, wait: 60_000, want: []string{}, code: kerr.UnknownTopicOrPartition, took: 3 * time.Second,
			then: func(t *testing.T, b *broker.Broker, c *client) {
				req := withVersion(kmsg.NewPtrDeleteTopicsRequest(), 5)
				req.TopicNames = []string{"t"}
				do[*kmsg.DeleteTopicsResponse](c, req)
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := open(t, broker.Config{})
				admin, c := dial(t, b), dial(t, b)
				mustCreate(admin, "t", 1)
				req := parkedFetch(0, tt.min)
				req.MaxWaitMillis = tt.wait
				start := time.Now()
				id := c.send(req)
				time.AfterFunc(min(3*time.Second, time.Duration(tt.wait)*time.Millisecond/2), func() { tt.then(t, b, admin) })
				p := c.receive(req, id).(*kmsg.FetchResponse).Topics[0].Partitions[0]
				if took := time.Since(start); took != tt.took {
					t.Errorf("it took %v, want %v", took, tt.took)
				}
				if got := values(t, p.RecordBatches, 0); !cmp.Equal(got, tt.want) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				if !isCode(p.ErrorCode, tt.code) {
					t.Errorf("code %d, want %v", p.ErrorCode, tt.code)
				}
				synctest.Wait()
				if n := b.RequestMemoryInUse(); n != 0 {
					t.Errorf("%d bytes of requests are still held", n)
				}
			})
		})
	}
}

func TestAClientThatLeavesEndsItsFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, broker.Config{})
		admin, c := dial(t, b), dial(t, b)
		mustCreate(admin, "t", 1)
		c.send(parkedFetch(0, 1))
		synctest.Wait()
		if n := b.Waiters("t", 0); n != 1 {
			t.Fatalf("%d fetches wait, want 1", n)
		}
		c.nc.Close()
		synctest.Wait() // no time passes
		if n := b.Waiters("t", 0); n != 0 {
			t.Errorf("%d fetches wait for a client that is gone", n)
		}
	})
}

func TestCloseEndsParkedFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, broker.Config{})
		c := dial(t, b)
		mustCreate(c, "t", 1)
		c.send(parkedFetch(0, 1))
		synctest.Wait()
		start := time.Now()
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("Close took %v", took)
		}
	})
}

func TestFetchLimits(t *testing.T) {
	b := open(t, broker.Config{})
	c := dial(t, b)
	id := mustCreate(c, "t", 2)
	big := string(make([]byte, 50_000))
	mustProduce(c, "t", big)
	mustProduce(c, "t", "small")
	produce(c, -1, "t", 1, batch("other"))

	t.Run("the first batch comes whatever its size", func(t *testing.T) {
		req := fetchRequest("t", 0)
		req.MaxBytes, req.Topics[0].Partitions[0].PartitionMaxBytes = 1, 1
		p := do[*kmsg.FetchResponse](c, req).Topics[0].Partitions[0]
		if got := values(t, p.RecordBatches, 0); len(got) != 1 || len(got[0]) != len(big) {
			t.Errorf("got %d records", len(got))
		}
	})
	t.Run("and only the first", func(t *testing.T) {
		req := fetchRequest("t", 0)
		req.MaxBytes = 1
		other := req.Topics[0].Partitions[0]
		other.Partition = 1
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, other)
		ps := do[*kmsg.FetchResponse](c, req).Topics[0].Partitions
		if len(values(t, ps[0].RecordBatches, 0)) != 1 || len(ps[1].RecordBatches) != 0 || ps[1].HighWatermark != 1 {
			t.Errorf("got %d and %d bytes, high watermark %d", len(ps[0].RecordBatches), len(ps[1].RecordBatches), ps[1].HighWatermark)
		}
	})
	t.Run("by topic id", func(t *testing.T) {
		req := fetchRequest("", 1)
		req.Version, req.Topics[0].TopicID = 17, id
		p := do[*kmsg.FetchResponse](c, req).Topics[0].Partitions[0]
		if got := values(t, p.RecordBatches, 1); !cmp.Equal(got, []string{"small"}) {
			t.Errorf("got %q, code %d", got, p.ErrorCode)
		}
	})
}

func TestFetchErrors(t *testing.T) {
	b := open(t, broker.Config{})
	c := dial(t, b)
	id := mustCreate(c, "t", 1)
	mustProduce(c, "t", "a", "b")
	with := func(version int16, change func(*kmsg.FetchRequest, *kmsg.FetchRequestTopicPartition)) *kmsg.FetchRequest {
		req := parkedFetch(0, 1<<30) // an error never waits
		req.Version = version
		change(req, &req.Topics[0].Partitions[0])
		return req
	}
	tests := []struct {
		name string
		req  *kmsg.FetchRequest
		want *kerr.Error
	}{
		{"unknown topic", with(12, func(r *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { r.Topics[0].Topic = "nope" }), kerr.UnknownTopicOrPartition},
		{"unknown partition", with(12, func(r *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.Partition = 1 }), kerr.UnknownTopicOrPartition},
		{"unknown id", with(13, func(r *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { r.Topics[0].TopicID = topicID{9} }), kerr.UnknownTopicID},
		{"unknown partition by id", with(13, func(r *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) {
			r.Topics[0].TopicID, p.Partition = id, -1
		}), kerr.UnknownTopicOrPartition},
		{"beyond the end", with(12, func(r *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.FetchOffset = 3 }), kerr.OffsetOutOfRange},
		{"negative offset", with(12, func(r *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.FetchOffset = -5 }), kerr.OffsetOutOfRange},
		{"newer leader epoch", with(12, func(r *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = 1 }), kerr.UnknownLeaderEpoch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			within(t, "an error", func() {
				p := do[*kmsg.FetchResponse](c, tt.req).Topics[0].Partitions[0]
				if !isCode(p.ErrorCode, tt.want) {
					t.Errorf("code %d, want %v", p.ErrorCode, tt.want)
				}
			})
		})
	}
	req := fetchRequest("t", 0)
	req.SessionID, req.SessionEpoch = 5, 1
	if resp := do[*kmsg.FetchResponse](c, req); resp.ErrorCode != kerr.FetchSessionIDNotFound.Code {
		t.Errorf("a session that nobody gave out: code %d", resp.ErrorCode)
	}
}
