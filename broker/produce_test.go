// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/broker/internal/seglog"
)

func TestAcknowledgedBatchesAreInTheLog(t *testing.T) {
	for name, mode := range map[string]broker.FlushMode{"os": broker.FlushOS, "batch": broker.FlushBatch, "interval": broker.FlushInterval} {
		t.Run(name, func(t *testing.T) {
			b := open(t, broker.Config{Flush: broker.FlushPolicy{Mode: mode}})
			c := dial(t, b)
			mustCreate(c, "t", 1)
			for i, v := range numbered("value", 5) {
				at := mustProduce(c, "t", v)
				if end := b.LogEndOffset("t", 0); at != int64(i) || end <= at {
					t.Fatalf("acknowledged at offset %d, want %d; the log ends at %d", at, i, end)
				}
				p := fetch(c, "t", at) // must not wait: it is there
				if got := values(t, p.RecordBatches, at); !cmp.Equal(got, []string{v}) {
					t.Fatalf("offset %d holds %q, want %q", at, got, v)
				}
			}
		})
	}
}

// edit returns a copy of a batch after a change, with a right CRC.
func edit(b []byte, change func(b []byte)) []byte {
	b = append([]byte(nil), b...)
	change(b)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func TestProduceErrors(t *testing.T) {
	b := open(t, broker.Config{MessageMaxBytes: 10_000})
	c := dial(t, b)
	id := mustCreate(c, "t", 2)
	mustCreate(c, "small", 1, "max.message.bytes", "100")
	good := batch("hello")
	bad := func(change func(b []byte)) []byte { return edit(good, change) }
	tests := []struct {
		name string
		req  *kmsg.ProduceRequest
		want *kerr.Error
	}{
		{"unknown topic", produceRequest(9, -1, "nope", topicID{}, 0, good), kerr.UnknownTopicOrPartition},
		{"unknown partition", produceRequest(9, -1, "t", topicID{}, 2, good), kerr.UnknownTopicOrPartition},
		{"negative partition", produceRequest(9, -1, "t", topicID{}, -1, good), kerr.UnknownTopicOrPartition},
		{"unknown topic id", produceRequest(13, -1, "", topicID{1}, 0, good), kerr.UnknownTopicID},
		{"unknown partition by id", produceRequest(13, -1, "", id, 2, good), kerr.UnknownTopicOrPartition},
		{"acks of 2", produceRequest(9, 2, "t", topicID{}, 0, good), kerr.InvalidRequiredAcks},
		{"internal topic", produceRequest(9, -1, "__consumer_offsets", topicID{}, 0, good), kerr.InvalidTopicException},
		{"larger than the broker allows", produceRequest(9, 1, "t", topicID{}, 0, batch(string(make([]byte, 10_000)))), kerr.MessageTooLarge},
		{"larger than the topic allows", produceRequest(9, 1, "small", topicID{}, 0, batch(string(make([]byte, 100)))), kerr.MessageTooLarge},
		{"no bytes", produceRequest(9, 1, "t", topicID{}, 0, nil), kerr.InvalidRecord},
		{"some bytes", produceRequest(9, 1, "t", topicID{}, 0, []byte("these are no record batch, not at all, not even a bit of one, no")), kerr.CorruptMessage},
		{"a cut batch", produceRequest(9, 1, "t", topicID{}, 0, good[:len(good)-1]), kerr.InvalidRecord},
		{"a flipped bit", produceRequest(9, 1, "t", topicID{}, 0, append(append([]byte(nil), good[:len(good)-3]...), good[len(good)-3]^1, good[len(good)-2], good[len(good)-1])), kerr.CorruptMessage},
		{"two batches", produceRequest(9, 1, "t", topicID{}, 0, append(append([]byte(nil), good...), good...)), kerr.InvalidRecord},
		{"message set of version 1", produceRequest(9, 1, "t", topicID{}, 0, bad(func(b []byte) { b[16] = 1 })), kerr.InvalidRecord},
		{"unknown codec", produceRequest(9, 1, "t", topicID{}, 0, bad(func(b []byte) { b[22] |= 7 })), kerr.UnsupportedCompressionType},
		{"control batch", produceRequest(9, 1, "t", topicID{}, 0, bad(func(b []byte) { b[22] |= 1 << 5 })), kerr.InvalidRecord},
		{"transactional batch", produceRequest(9, 1, "t", topicID{}, 0, bad(func(b []byte) { b[22] |= 1 << 4 })), kerr.InvalidRecord},
		{"more records than there are", produceRequest(9, 1, "t", topicID{}, 0, bad(func(b []byte) { b[60], b[26] = 9, 8 })), kerr.InvalidRecord},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := do[*kmsg.ProduceResponse](c, tt.req).Topics[0].Partitions[0]
			if p.ErrorCode != tt.want.Code || p.BaseOffset != -1 {
				t.Errorf("code %v (%s) at offset %d, want %v at -1", kerr.ErrorForCode(p.ErrorCode), deref(p.ErrorMessage), p.BaseOffset, tt.want)
			}
		})
	}
	if got := mustProduce(c, "t", "after all that"); got != 0 {
		t.Errorf("the first good batch has offset %d, want 0: something was appended", got)
	}
}

func TestIdempotentProducer(t *testing.T) {
	b := open(t, broker.Config{})
	c := dial(t, b)
	mustCreate(c, "t", 1)
	init := do[*kmsg.InitProducerIDResponse](c, withVersion(kmsg.NewPtrInitProducerIDRequest(), 4))
	if init.ErrorCode != 0 || init.ProducerID < 0 || init.ProducerEpoch != 0 {
		t.Fatalf("InitProducerId = id %d, epoch %d, code %d", init.ProducerID, init.ProducerEpoch, init.ErrorCode)
	}
	as := func(epoch int16, sequence int32, values ...string) []byte {
		return batchWith([]seglog.BatchOption{seglog.WithProducer(init.ProducerID, epoch, sequence)}, values...)
	}
	steps := []struct {
		name   string
		batch  []byte
		want   *kerr.Error
		offset int64
	}{
		{"first", as(0, 0, "a", "b"), nil, 0},
		{"second", as(0, 2, "c"), nil, 2},
		{"first again", as(0, 0, "a", "b"), nil, 0},
		{"second again", as(0, 2, "c"), nil, 2},
		{"a gap", as(0, 4, "e"), kerr.OutOfOrderSequenceNumber, -1},
		{"third", as(0, 3, "d"), nil, 3},
		{"a new epoch in the middle", as(1, 7, "x"), kerr.OutOfOrderSequenceNumber, -1},
		{"a new epoch from 0", as(1, 0, "f"), nil, 4},
		{"the old epoch", as(0, 4, "e"), kerr.InvalidProducerEpoch, -1},
	}
	for _, s := range steps {
		p := produce(c, -1, "t", 0, s.batch)
		if p.BaseOffset != s.offset || !isCode(p.ErrorCode, s.want) {
			t.Errorf("%s: offset %d, code %d; want %d, %v", s.name, p.BaseOffset, p.ErrorCode, s.offset, s.want)
		}
	}
	if got, want := readAll(c, "t"), []string{"a", "b", "c", "d", "f"}; !cmp.Equal(got, want) {
		t.Errorf("the log holds %q, want %q", got, want)
	}
}

func withVersion[R kmsg.Request](req R, version int16) R {
	req.SetVersion(version)
	return req
}

func TestNoAnswerWithoutAcks(t *testing.T) {
	b := open(t, broker.Config{})
	c := dial(t, b)
	mustCreate(c, "t", 1)
	c.send(produceRequest(9, 0, "t", topicID{}, 0, batch("quiet")))
	// The next answer on the connection is that of the next request.
	if got := readAll(c, "t"); !cmp.Equal(got, []string{"quiet"}) {
		t.Errorf("the log holds %q", got)
	}
	c.send(produceRequest(9, 0, "nope", topicID{}, 0, batch("lost")))
	c.closed() // the only way to tell
}

func TestAnswersComeInTheOrderOfRequests(t *testing.T) {
	b := open(t, broker.Config{})
	c := dial(t, b)
	mustCreate(c, "t", 1)
	type sent struct {
		req kmsg.Request
		id  int32
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	within(t, "200 pipelined requests", func() {
		var all []sent
		var wg sync.WaitGroup
		for range 200 {
			var req kmsg.Request
			switch rnd.IntN(3) {
			case 0:
				req = produceRequest(9, int16(rnd.IntN(2))*2-1, "t", topicID{}, 0, batch("x"))
			case 1:
				f := fetchRequest("t", 0)
				f.MaxWaitMillis, f.MinBytes = 2, 1<<30
				req = f
			default:
				req = withVersion(kmsg.NewPtrMetadataRequest(), 9)
			}
			c.next++
			all = append(all, sent{req, c.next})
		}
		wg.Go(func() {
			for _, s := range all {
				if _, err := c.nc.Write(frameOf(s.req, s.id)); err != nil {
					t.Errorf("write: %v", err)
					return
				}
			}
		})
		for _, s := range all {
			c.receive(s.req, s.id)
		}
		wg.Wait()
	})
}

func TestHighWatermarkWaitsForFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, broker.Config{})
		admin, leader, acked, reader := dial(t, b), dial(t, b), dial(t, b), dial(t, b)
		mustCreate(admin, "t", 1)
		b.SetFollower("t", 0, 7, 0)

		if p := produce(leader, 1, "t", 0, batch("a")); p.ErrorCode != 0 || p.BaseOffset != 0 {
			t.Fatalf("acks=1: code %d, offset %d", p.ErrorCode, p.BaseOffset)
		}
		if p := fetch(admin, "t", 0); p.HighWatermark != 0 || len(p.RecordBatches) > 0 {
			t.Fatalf("shown before the follower has it: high watermark %d, %d bytes", p.HighWatermark, len(p.RecordBatches))
		}
		if p := fetch(admin, "t", 1); p.ErrorCode != kerr.OffsetOutOfRange.Code {
			t.Errorf("fetch above the high watermark: code %d", p.ErrorCode)
		}
		all := produceRequest(9, -1, "t", topicID{}, 0, batch("b"))
		waiting := acked.send(all)
		parked := fetchRequest("t", 0)
		parked.MaxWaitMillis = 10_000
		fetching := reader.send(parked)
		synctest.Wait()
		if n := b.Waiters("t", 0); n != 2 {
			t.Fatalf("%d wait for the high watermark, want the producer and the consumer", n)
		}
		b.SetFollower("t", 0, 7, 1)
		if p := reader.receive(parked, fetching).(*kmsg.FetchResponse).Topics[0].Partitions[0]; !cmp.Equal(values(t, p.RecordBatches, 0), []string{"a"}) {
			t.Errorf("the fetch got %q at high watermark %d, want the first record only", values(t, p.RecordBatches, 0), p.HighWatermark)
		}
		b.SetFollower("t", 0, 7, 2)
		if p := acked.receive(all, waiting).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.BaseOffset != 1 {
			t.Errorf("acks=all: code %d, offset %d", p.ErrorCode, p.BaseOffset)
		}
		start := time.Now()
		if p := produce(acked, -1, "t", 0, batch("c")); p.ErrorCode != kerr.RequestTimedOut.Code {
			t.Errorf("acks=all with a stuck follower: code %d", p.ErrorCode)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("it took %v, want the request's 5s", took)
		}
	})
}
