// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

func saramaProgram(ctx context.Context, t *testing.T, addr string, out *outcomes) {
	lib := &saramaLib{ctx: ctx, addr: addr}
	client, err := sarama.NewClient([]string{addr}, lib.config0())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	lib.client, lib.admin = client, admin
	s := &shared{ctx, "sarama", lib, out}
	s.codecs()
	s.basics()
	out.scenario("idempotent", s.idempotent)
	out.scenario("admin records", s.adminRecords)
	out.scenario("group eager", func(name string) error { return s.group(name, joining{}) })
	out.scenario("group cooperative", func(name string) error { return s.group(name, joining{cooperative: true}) })
	out.scenario("static eager", s.static)
}

// saramaLib is sarama as a library.
type saramaLib struct {
	ctx    context.Context //nolint:containedctx // one run
	addr   string
	client sarama.Client
	admin  sarama.ClusterAdmin
}

// config0 is what all its clients have.
func (l *saramaLib) config0() *sarama.Config {
	cfg := sarama.NewConfig()
	cfg.Version = sarama.MaxVersion
	cfg.Producer.Partitioner = sarama.NewManualPartitioner
	cfg.Producer.Return.Successes = true
	cfg.Producer.RequiredAcks = sarama.WaitForAll
	cfg.Producer.Flush.Frequency = 5 * time.Millisecond
	cfg.Consumer.Offsets.Initial = sarama.OffsetOldest
	cfg.Consumer.Offsets.AutoCommit.Enable = false
	cfg.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	return cfg
}

func (l *saramaLib) create(topic string, partitions, replicas int, configs map[string]string, validate bool) error {
	d := &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: int16(replicas), ConfigEntries: make(map[string]*string)}
	for k, v := range configs {
		d.ConfigEntries[k] = &v
	}
	return l.admin.CreateTopic(topic, d, validate)
}

func (l *saramaLib) grow(topic string, partitions int) error {
	return l.admin.CreatePartitions(topic, int32(partitions), nil, false)
}

func (l *saramaLib) remove(topic string) error { return l.admin.DeleteTopic(topic) }

func (l *saramaLib) partitions(topic string) (int, error) {
	all, err := l.admin.DescribeTopics([]string{topic})
	if err != nil {
		return 0, err
	}
	return len(all[0].Partitions), l.client.RefreshMetadata(topic)
}

func (l *saramaLib) alter(topic, name, value string) error {
	set := sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}
	return l.admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{name: set}, false)
}

func (l *saramaLib) config(topic, name string) (string, error) {
	resource := &sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{name}}
	all, err := l.admin.DescribeConfigs([]*sarama.ConfigResource{resource}, sarama.DescribeConfigsOptions{})
	if err != nil {
		return "", err
	}
	if all[0].ErrorCode != sarama.ErrNoError || len(all[0].Configs) != 1 {
		return "", fmt.Errorf("%d configs: %w", len(all[0].Configs), all[0].ErrorCode)
	}
	return all[0].Configs[0].Value, nil
}

func (l *saramaLib) describe(group string) ([]any, error) {
	all, err := l.admin.DescribeConsumerGroups([]string{group})
	if err != nil {
		return nil, err
	}
	return []any{"classic", all[0].State, all[0].Protocol, len(all[0].Members)}, nil
}

func (l *saramaLib) deleteGroup(group string) error { return l.admin.DeleteConsumerGroup(group) }

func (l *saramaLib) deleteRecords(topic string, to int64) error {
	return l.admin.DeleteRecords(topic, map[int32]int64{0: to})
}

func (l *saramaLib) offset(topic string, ms int64) (int64, error) {
	return l.client.GetOffset(topic, 0, ms)
}

func (l *saramaLib) produce(topic string, o producing, records ...sent) []error {
	cfg := l.config0()
	codecOf := map[string]sarama.CompressionCodec{
		"gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
	}
	cfg.Producer.Compression = codecOf[o.codec]
	if o.limit > 0 {
		cfg.Producer.MaxMessageBytes = max(o.limit, 1000)
		cfg.Producer.Flush.MaxMessages = o.limit / 100
	}
	if o.idempotent {
		cfg.Producer.Idempotent = true
		cfg.Net.MaxOpenRequests = 1
	}
	p, err := sarama.NewSyncProducer([]string{l.addr}, cfg)
	if err != nil {
		return []error{err}
	}
	defer p.Close()
	var all []*sarama.ProducerMessage
	for _, r := range records {
		m := &sarama.ProducerMessage{Topic: topic, Partition: int32(r.partition), Timestamp: time.UnixMilli(baseTime + r.Time)}
		if r.Key != nil {
			m.Key = sarama.ByteEncoder(bytesOf(r.Key))
		}
		if r.Value != nil {
			m.Value = sarama.ByteEncoder(bytesOf(r.Value))
		}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(*h[0]), Value: bytesOf(h[1])})
		}
		all = append(all, m)
	}
	errs := make([]error, len(all))
	if failed, ok := errors.AsType[sarama.ProducerErrors](p.SendMessages(all)); ok {
		for _, f := range failed {
			errs[slices.Index(all, f.Msg)] = f.Err
		}
	}
	return errs
}

func (l *saramaLib) read(topic string, partition int, from int64, n, limit int) ([]record, error) {
	cfg := l.config0()
	if limit > 0 {
		cfg.Consumer.Fetch.Default = int32(limit)
	}
	c, err := sarama.NewConsumer([]string{l.addr}, cfg)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	p, err := c.ConsumePartition(topic, int32(partition), from)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	var all []record
	for len(all) < n {
		select {
		case m := <-p.Messages():
			r := record{Offset: m.Offset, Time: m.Timestamp.UnixMilli() - baseTime, Key: text(m.Key), Value: text(m.Value), Headers: [][]*string{}}
			for _, h := range m.Headers {
				r.Headers = append(r.Headers, []*string{text(h.Key), text(h.Value)})
			}
			all = append(all, r)
		case <-l.ctx.Done():
			return nil, fmt.Errorf("after %d of %d records: %w", len(all), n, l.ctx.Err())
		}
	}
	return all, nil
}

// paused pauses a partition and opens it again at its start, where it stays
// paused: so there is no fetch under way that brings something yet.
func (l *saramaLib) paused(topic string) (before, after map[string]string, err error) {
	c, err := sarama.NewConsumer([]string{l.addr}, l.config0())
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	zero, err := c.ConsumePartition(topic, 0, groupEach)
	if err != nil {
		return nil, nil, err
	}
	c.Pause(map[string][]int32{topic: {0}})
	if err := zero.Close(); err != nil {
		return nil, nil, err
	}
	if zero, err = c.ConsumePartition(topic, 0, 0); err != nil {
		return nil, nil, err
	}
	defer zero.Close()
	before = make(map[string]string)
	for range 2 { // what 0 could bring comes with the second time at the latest
		one, err := c.ConsumePartition(topic, 1, 0)
		if err != nil {
			return nil, nil, err
		}
		err = l.firsts(before, groupEach, one.Messages(), zero.Messages())
		if err := errors.Join(err, one.Close()); err != nil {
			return nil, nil, err
		}
	}
	if v := before["0"]; v != "" {
		return nil, nil, fmt.Errorf("%s came while its partition was paused", v)
	}
	c.Resume(map[string][]int32{topic: {0}})
	after = make(map[string]string)
	return before, after, l.firsts(after, groupEach, zero.Messages(), nil)
}

// firsts notes the first value of each partition until n records have come of one;
// beside it another may bring some.
func (l *saramaLib) firsts(all map[string]string, n int, of, beside <-chan *sarama.ConsumerMessage) error {
	for n > 0 {
		var m *sarama.ConsumerMessage
		select {
		case m = <-of:
			n--
		case m = <-beside:
		case <-l.ctx.Done():
			return fmt.Errorf("%d records are missing: %w", n, l.ctx.Err())
		}
		if p := fmt.Sprint(m.Partition); all[p] == "" {
			all[p] = string(m.Value)
		}
	}
	return nil
}

func (l *saramaLib) commit(group, topic string, partition int, at int64, note string) error {
	resp, err := l.admin.AlterConsumerGroupOffsets(group, map[string]map[int32]sarama.OffsetAndMetadata{
		topic: {int32(partition): {Offset: at, Metadata: note, LeaderEpoch: -1}},
	}, nil)
	if err != nil {
		return err
	}
	if e := resp.Errors[topic][int32(partition)]; e != sarama.ErrNoError {
		return e
	}
	return nil
}

func (l *saramaLib) committed(group, topic string, partition int) (int64, string, error) {
	all, err := l.admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {int32(partition)}})
	if err != nil {
		return 0, "", err
	}
	b := all.GetBlock(topic, int32(partition))
	if b == nil {
		return 0, "", errors.New("no answer for the partition")
	}
	return b.Offset, b.Metadata, nil
}

func (l *saramaLib) join(group, topic string, o joining) (member, error) {
	cfg := l.config0()
	cfg.Consumer.Group.InstanceId = o.instance
	cfg.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	if o.cooperative {
		cfg.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
	}
	g, err := sarama.NewConsumerGroup([]string{l.addr}, group, cfg)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(l.ctx)
	m := &saramaMember{group: g, stop: stop}
	m.wg.Go(func() {
		for ctx.Err() == nil {
			if err := g.Consume(ctx, []string{topic}, m); err != nil && ctx.Err() == nil {
				m.mu.Lock()
				m.failed = errors.Join(m.failed, err)
				m.mu.Unlock()
			}
		}
	})
	return m, nil
}

// saramaMember is a member of a group, and sarama's handler of it.
type saramaMember struct {
	group sarama.ConsumerGroup
	stop  context.CancelFunc
	wg    sync.WaitGroup

	mu      sync.Mutex
	session sarama.ConsumerGroupSession
	owned   []int32
	got     []string
	failed  error
}

func (m *saramaMember) Setup(s sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.session = s
	return nil
}

func (m *saramaMember) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *saramaMember) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	m.mu.Lock()
	m.owned = append(m.owned, claim.Partition())
	m.mu.Unlock()
	for msg := range claim.Messages() {
		s.MarkMessage(msg, "")
		m.mu.Lock()
		m.got = append(m.got, string(msg.Value))
		m.mu.Unlock()
	}
	m.mu.Lock()
	m.owned = slices.DeleteFunc(m.owned, func(p int32) bool { return p == claim.Partition() })
	m.mu.Unlock()
	return nil
}

func (m *saramaMember) assigned() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(slices.Values(m.owned))
}

func (m *saramaMember) values() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.got)
}

func (m *saramaMember) commit() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.session.Commit()
	return m.failed
}

func (m *saramaMember) leave() {
	m.stop()
	m.wg.Wait()
	_ = m.group.Close() // a second time it says that it is closed
}
