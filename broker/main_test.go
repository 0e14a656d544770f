// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/broker/internal/seglog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quiet logs nothing: tests provoke what the broker complains about.
var quiet = slog.New(slog.DiscardHandler)

// open starts a broker that the test's end closes.
func open(t testing.TB, cfg broker.Config) *broker.Broker {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = quiet
	}
	b, err := broker.Open(context.Background(), cfg)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

// A client speaks kmsg over one connection.
type client struct {
	t    testing.TB
	nc   net.Conn
	next int32
}

func dial(t testing.TB, b *broker.Broker) *client {
	t.Helper()
	nc, err := b.Dial(context.Background(), "tcp", b.Addr())
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	t.Cleanup(func() { nc.Close() })
	return &client{t: t, nc: nc}
}

// send writes one request and returns its correlation id.
func (c *client) send(req kmsg.Request) int32 {
	c.t.Helper()
	c.next++
	if _, err := c.nc.Write(frameOf(req, c.next)); err != nil {
		c.t.Fatalf("send %s: %v", kmsg.NameForKey(req.Key()), err)
	}
	return c.next
}

func frameOf(req kmsg.Request, id int32) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, id)
}

// receive reads the answer to req, which must be the one with the id.
func (c *client) receive(req kmsg.Request, id int32) kmsg.Response {
	c.t.Helper()
	resp := req.ResponseKind()
	got, body, err := readAnswer(c.nc, resp.IsFlexible() && resp.Key() != 18)
	if err != nil {
		c.t.Fatalf("answer to %s v%d: %v", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	if got != id {
		c.t.Fatalf("answer to %s has correlation id %d, want %d", kmsg.NameForKey(req.Key()), got, id)
	}
	if err := resp.ReadFrom(body); err != nil {
		c.t.Fatalf("answer to %s v%d: %v\n% x", kmsg.NameForKey(req.Key()), req.GetVersion(), err, body)
	}
	return resp
}

func readAnswer(r io.Reader, flexible bool) (id int32, body []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	body = make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, err
	}
	id, body = int32(binary.BigEndian.Uint32(body)), body[4:]
	if flexible {
		body = body[1:]
	}
	return id, body, nil
}

// do sends a request and waits for its answer.
func do[Resp kmsg.Response](c *client, req kmsg.Request) Resp {
	c.t.Helper()
	return c.receive(req, c.send(req)).(Resp)
}

// awaitGroups waits until the coordinators of all groups have read their logs.
func awaitGroups(c *client) {
	c.t.Helper()
	for {
		req := withVersion(kmsg.NewPtrListGroupsRequest(), 4)
		if do[*kmsg.ListGroupsResponse](c, req).ErrorCode != kerr.CoordinatorLoadInProgress.Code {
			return
		}
	}
}

func create(c *client, name string, partitions int32, configs ...string) kmsg.CreateTopicsResponseTopic {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 7
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, partitions, -1
	for i := 0; i < len(configs); i += 2 {
		cfg := kmsg.NewCreateTopicsRequestTopicConfig()
		cfg.Name, cfg.Value = configs[i], &configs[i+1]
		rt.Configs = append(rt.Configs, cfg)
	}
	req.Topics = append(req.Topics, rt)
	return do[*kmsg.CreateTopicsResponse](c, req).Topics[0]
}

func mustCreate(c *client, name string, partitions int32, configs ...string) topicID {
	c.t.Helper()
	at := create(c, name, partitions, configs...)
	if at.ErrorCode != 0 {
		c.t.Fatalf("create %q: code %d, %s", name, at.ErrorCode, deref(at.ErrorMessage))
	}
	return at.TopicID
}

type topicID = [16]byte

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// batch is an uncompressed batch of values.
func batch(values ...string) []byte { return batchWith(nil, values...) }

func batchWith(opts []seglog.BatchOption, values ...string) []byte {
	var recs []seglog.Record
	for i, v := range values {
		recs = append(recs, seglog.Record{Timestamp: 1_000 + int64(i), Value: []byte(v)})
	}
	return seglog.BuildBatch(recs, opts...)
}

func produceRequest(version int16, acks int16, topic string, id topicID, partition int32, b []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, acks, 5000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = topic, id
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = partition, b
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// produce sends one batch by name.
func produce(c *client, acks int16, topic string, partition int32, b []byte) kmsg.ProduceResponseTopicPartition {
	c.t.Helper()
	resp := do[*kmsg.ProduceResponse](c, produceRequest(9, acks, topic, topicID{}, partition, b))
	return resp.Topics[0].Partitions[0]
}

func mustProduce(c *client, topic string, values ...string) int64 {
	c.t.Helper()
	p := produce(c, -1, topic, 0, batch(values...))
	if p.ErrorCode != 0 {
		c.t.Fatalf("produce to %q: code %d, %s", topic, p.ErrorCode, deref(p.ErrorMessage))
	}
	return p.BaseOffset
}

// fetchRequest asks for partition 0 of a topic by name.
func fetchRequest(topic string, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes, req.MinBytes = 12, 10<<20, 1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = offset, 1<<20, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

func fetch(c *client, topic string, offset int64) kmsg.FetchResponseTopicPartition {
	c.t.Helper()
	return do[*kmsg.FetchResponse](c, fetchRequest(topic, offset)).Topics[0].Partitions[0]
}

// values are those of the records in whole batches, from the offset on.
func values(t testing.TB, data []byte, from int64) []string {
	t.Helper()
	all := []string{}
	for len(data) > 0 {
		h, err := seglog.ParseHeader(data)
		if err != nil || h.Length > len(data) {
			t.Fatalf("fetched batch: %v, %d of %d bytes", err, len(data), h.Length)
		}
		err = seglog.EachRecord(data[:h.Length], func(r seglog.Record) error {
			if r.Offset >= from {
				all = append(all, string(r.Value))
			}
			return nil
		})
		if err != nil {
			t.Fatalf("fetched batch: %v", err)
		}
		data = data[h.Length:]
	}
	return all
}

// readAll reads partition 0 of a topic from its start to the high watermark.
func readAll(c *client, topic string) []string {
	c.t.Helper()
	all := []string{}
	for at := int64(0); ; {
		p := fetch(c, topic, at)
		if p.ErrorCode != 0 {
			c.t.Fatalf("fetch %q at %d: code %d", topic, at, p.ErrorCode)
		}
		got := values(c.t, p.RecordBatches, at)
		if len(got) == 0 {
			return all
		}
		all = append(all, got...)
		at += int64(len(got))
	}
}

func numbered(prefix string, n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("%s-%d", prefix, i))
	}
	return all
}

// within fails the test if fn takes longer than a generous bound: instead of
// hanging until the test binary's own.
func within(t testing.TB, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s: still waiting after a minute", what)
	}
}

// isCode tells whether an answer's code is that of want, nil for none.
func isCode(code int16, want *kerr.Error) bool {
	if want == nil {
		return code == 0
	}
	return code == want.Code
}
