// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// franz is the program of franz-go and its package kadm.
type franz struct {
	ctx   context.Context //nolint:containedctx // one run
	name  string
	addr  string
	admin *kadm.Client
	out   *outcomes
}

func franzGo(ctx context.Context, t *testing.T, addr string, out *outcomes) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	f := &franz{ctx, "franz-go", addr, kadm.NewClient(cl), out}
	for i, codec := range []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	} {
		out.scenario("codec "+codecs[i], func(name string) error { return f.codec(name, codecs[i], codec) })
	}
	out.scenario("records", f.records)
	out.scenario("large", f.large)
	out.scenario("times", f.times)
	out.scenario("idempotent", f.idempotent)
	out.scenario("commits", f.commits)
	out.scenario("group eager", func(name string) error { return f.group(name, kgo.Balancers(kgo.RangeBalancer())) })
	out.scenario("group cooperative", func(name string) error { return f.group(name, kgo.Balancers(kgo.CooperativeStickyBalancer())) })
	out.scenario("group consumer", func(name string) error {
		return f.group(name, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	})
	out.scenario("static eager", f.static)
	out.scenario("admin topics", f.adminTopics)
	out.scenario("admin configs", f.adminConfigs)
	out.scenario("admin groups", f.adminGroups)
	out.scenario("admin records", f.adminRecords)
}

// create makes the scenario's topic.
func (f *franz) create(scenario string, partitions int32) (string, error) {
	name := topic(f.name, scenario)
	configs := make(map[string]*string)
	for k, v := range keepAll {
		configs[k] = &v
	}
	if _, err := f.admin.CreateTopic(f.ctx, partitions, 1, configs, name); err != nil {
		return "", fmt.Errorf("create %s: %w", name, err)
	}
	return name, nil
}

func (f *franz) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, kgo.SeedBrokers(f.addr), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
}

func (f *franz) produce(records []*kgo.Record, opts ...kgo.Opt) error {
	cl, err := f.client(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	return cl.ProduceSync(f.ctx, records...).FirstErr()
}

// consume reads n records with a client of its own.
func (f *franz) consume(n int, opts ...kgo.Opt) ([]*kgo.Record, error) {
	cl, err := f.client(opts...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	return f.poll(cl, n)
}

func (f *franz) poll(cl *kgo.Client, n int) ([]*kgo.Record, error) {
	var all []*kgo.Record
	for len(all) < n {
		fetches := cl.PollRecords(f.ctx, n-len(all))
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("poll after %d of %d records: %w", len(all), n, err)
		}
		all = append(all, fetches.Records()...)
	}
	return all, nil
}

func (f *franz) codec(scenario, codec string, c kgo.CompressionCodec) error {
	name, err := f.create(scenario, 1)
	if err != nil {
		return err
	}
	var send []*kgo.Record
	for i := range codecCount {
		send = append(send, &kgo.Record{Topic: name, Key: fmt.Append(nil, i), Value: []byte(codecValue(codec, i))})
	}
	if err := f.produce(send, kgo.ProducerBatchCompression(c)); err != nil {
		return err
	}
	read, err := f.consume(codecCount, kgo.ConsumeTopics(name))
	if err != nil {
		return err
	}
	equal := 0
	for i, r := range read {
		if string(r.Key) == fmt.Sprint(i) && string(r.Value) == codecValue(codec, i) {
			equal++
		}
	}
	f.out.got("codec", codec+", equal", equal)
	return nil
}

func (f *franz) records(scenario string) error {
	name, err := f.create(scenario, 1)
	if err != nil {
		return err
	}
	var send []*kgo.Record
	for i, r := range recordsToSend() {
		k := &kgo.Record{Topic: name, Key: bytesOf(r.Key), Value: bytesOf(r.Value), Timestamp: time.UnixMilli(baseTime + int64(i))}
		for _, h := range r.Headers {
			k.Headers = append(k.Headers, kgo.RecordHeader{Key: *h[0], Value: bytesOf(h[1])})
		}
		send = append(send, k)
	}
	if err := f.produce(send); err != nil {
		return err
	}
	read, err := f.consume(len(send), kgo.ConsumeTopics(name))
	if err != nil {
		return err
	}
	for _, r := range read {
		got := record{Offset: r.Offset, Time: r.Timestamp.UnixMilli() - baseTime, Key: text(r.Key), Value: text(r.Value), Headers: [][]*string{}}
		for _, h := range r.Headers {
			got.Headers = append(got.Headers, []*string{&h.Key, text(h.Value)})
		}
		f.out.got(scenario, fmt.Sprint(r.Offset), got)
	}
	return nil
}

func (f *franz) large(scenario string) error {
	name, err := f.create(scenario, 1)
	if err != nil {
		return err
	}
	own := []kgo.Opt{kgo.ProducerBatchMaxBytes(4 << 20), kgo.BrokerMaxWriteBytes(8 << 20), kgo.ProducerBatchCompression(kgo.NoCompression())}
	send := func(n int) error {
		return f.produce([]*kgo.Record{{Topic: name, Value: make([]byte, n)}}, own...)
	}
	f.out.got(scenario, "fits", code(send(largestValue)))
	f.out.got(scenario, "one byte more", code(send(largestValue+1)))
	read, err := f.consume(1, kgo.ConsumeTopics(name))
	if err != nil {
		return err
	}
	f.out.got(scenario, "read", len(read[0].Value))
	small, err := f.consume(1, kgo.ConsumeTopics(name), kgo.FetchMaxBytes(1000), kgo.FetchMaxPartitionBytes(1000))
	if err != nil {
		return err
	}
	f.out.got(scenario, "read with small limits", len(small[0].Value))
	return nil
}

// timed creates a topic of 5 records, 1 s apart.
func (f *franz) timed(scenario string) (string, error) {
	name, err := f.create(scenario, 1)
	if err != nil {
		return "", err
	}
	var send []*kgo.Record
	for i := range int64(5) {
		send = append(send, &kgo.Record{Topic: name, Value: fmt.Append(nil, i), Timestamp: time.UnixMilli(baseTime + 1000*i)})
	}
	return name, f.produce(send)
}

func (f *franz) times(scenario string) error {
	name, err := f.timed(scenario)
	if err != nil {
		return err
	}
	for step, ms := range map[string]int64{"earliest": -2, "latest": -1, "of a record": 2000, "between": 2500, "after all": 9000} {
		if ms >= 0 {
			ms += baseTime
		}
		// kadm answers with the end where no record is that young
		got, err := f.admin.ListOffsetsAfterMilli(f.ctx, ms, name)
		if err != nil {
			return err
		}
		o, _ := got.Lookup(name, 0)
		f.out.got(scenario, step, o.Offset)
	}
	newest, err := f.admin.ListMaxTimestampOffsets(f.ctx, name)
	if err != nil {
		return err
	}
	o, _ := newest.Lookup(name, 0)
	f.out.got(scenario, "max timestamp", []int64{o.Offset, o.Timestamp - baseTime})
	read, err := f.consume(1, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		name: {0: kgo.NewOffset().AfterMilli(baseTime + 2500)},
	}))
	if err != nil {
		return err
	}
	f.out.got(scenario, "consumed from between", read[0].Offset)
	return f.equalTimes(scenario)
}

// equalTimes: which of several records with the greatest time is meant.
func (f *franz) equalTimes(scenario string) error {
	name, err := f.create(scenario+" equal", 1)
	if err != nil {
		return err
	}
	for range 2 { // two batches
		var send []*kgo.Record
		for _, s := range []int64{1, 5, 5, 2} {
			send = append(send, &kgo.Record{Topic: name, Value: []byte("v"), Timestamp: time.UnixMilli(baseTime + 1000*s)})
		}
		if err := f.produce(send); err != nil {
			return err
		}
	}
	newest, err := f.admin.ListMaxTimestampOffsets(f.ctx, name)
	if err != nil {
		return err
	}
	o, _ := newest.Lookup(name, 0)
	f.out.got(scenario, "max timestamp of equal ones", []int64{o.Offset, o.Timestamp - baseTime})
	at, err := f.admin.ListOffsetsAfterMilli(f.ctx, baseTime+5000, name)
	o, _ = at.Lookup(name, 0)
	f.out.got(scenario, "of equal ones", o.Offset)
	return err
}

func (f *franz) idempotent(scenario string) error {
	name, err := f.create(scenario, 1)
	if err != nil {
		return err
	}
	var send []*kgo.Record
	for i := range idempotent {
		send = append(send, &kgo.Record{Topic: name, Value: fmt.Append(nil, i)})
	}
	// batches of a few records, five under way
	if err := f.produce(send, kgo.ProducerBatchMaxBytes(512)); err != nil {
		return err
	}
	read, err := f.consume(idempotent, kgo.ConsumeTopics(name))
	if err != nil {
		return err
	}
	f.out.got(scenario, "in order", slices.EqualFunc(send, read, func(a, b *kgo.Record) bool { return string(a.Value) == string(b.Value) }))
	end, err := f.admin.ListEndOffsets(f.ctx, name)
	if err != nil {
		return err
	}
	o, _ := end.Lookup(name, 0)
	f.out.got(scenario, "end", o.Offset)
	producers, err := f.admin.DescribeProducers(f.ctx, kadm.TopicsSet{name: {0: {}}})
	if err != nil {
		return err
	}
	f.out.got(scenario, "producers", len(producers.SortedProducers()))
	return nil
}
