// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

func kafkaGo(ctx context.Context, t *testing.T, addr string, out *outcomes) {
	at, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	transport := &kafka.Transport{MetadataTTL: 100 * time.Millisecond} // what is new is seen soon
	defer transport.CloseIdleConnections()
	lib := &kafkaGoLib{ctx: ctx, addr: at, client: &kafka.Client{Addr: at, Transport: transport}}
	s := &shared{ctx, "kafka-go", lib, out}
	s.codecs()
	s.basics()
	out.scenario("unread", func(name string) error { return lib.unread(s, name) })
	out.scenario("group eager", func(name string) error { return s.group(name, joining{}) })
}

// kafkaGoLib is segmentio/kafka-go as a library. It has neither idempotent
// producers, nor static members, nor DeleteRecords, nor pause.
type kafkaGoLib struct {
	ctx    context.Context //nolint:containedctx // one run
	addr   net.Addr
	client *kafka.Client
}

func (l *kafkaGoLib) create(topic string, partitions, replicas int, configs map[string]string, validate bool) error {
	if validate {
		return errLacks // it would wait until it saw the topic
	}
	c := kafka.TopicConfig{Topic: topic, NumPartitions: partitions, ReplicationFactor: replicas}
	for k, v := range configs {
		c.ConfigEntries = append(c.ConfigEntries, kafka.ConfigEntry{ConfigName: k, ConfigValue: v})
	}
	resp, err := l.client.CreateTopics(l.ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{c}})
	if err != nil {
		return err
	}
	return resp.Errors[topic]
}

func (l *kafkaGoLib) grow(topic string, partitions int) error {
	resp, err := l.client.CreatePartitions(l.ctx, &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: int32(partitions)}},
	})
	if err != nil {
		return err
	}
	return resp.Errors[topic]
}

func (l *kafkaGoLib) remove(topic string) error {
	resp, err := l.client.DeleteTopics(l.ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil {
		return err
	}
	return resp.Errors[topic]
}

func (l *kafkaGoLib) partitions(topic string) (int, error) {
	resp, err := l.client.Metadata(l.ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, err
	}
	return len(resp.Topics[0].Partitions), resp.Topics[0].Error
}

func (l *kafkaGoLib) alter(topic, name, value string) error {
	resp, err := l.client.IncrementalAlterConfigs(l.ctx, &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: name, Value: value, ConfigOperation: kafka.ConfigOperationSet}},
		}},
	})
	if err != nil {
		return err
	}
	return resp.Resources[0].Error
}

func (l *kafkaGoLib) config(topic, name string) (string, error) {
	resp, err := l.client.DescribeConfigs(l.ctx, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{name},
		}},
	})
	if err != nil {
		return "", err
	}
	r := resp.Resources[0]
	if r.Error != nil || len(r.ConfigEntries) != 1 {
		return "", fmt.Errorf("%d configs: %w", len(r.ConfigEntries), r.Error)
	}
	return r.ConfigEntries[0].ConfigValue, nil
}

// describe has no protocol, which the library does not tell.
func (l *kafkaGoLib) describe(group string) ([]any, error) {
	resp, err := l.client.DescribeGroups(l.ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return nil, err
	}
	return []any{"classic", resp.Groups[0].GroupState, len(resp.Groups[0].Members)}, resp.Groups[0].Error
}

func (l *kafkaGoLib) deleteGroup(group string) error {
	resp, err := l.client.DeleteGroups(l.ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return err
	}
	return resp.Errors[group]
}

func (l *kafkaGoLib) deleteRecords(string, int64) error { return errLacks }

func (l *kafkaGoLib) offset(topic string, ms int64) (int64, error) {
	resp, err := l.client.ListOffsets(l.ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: {{Partition: 0, Timestamp: ms}}},
	})
	if err != nil {
		return 0, err
	}
	p := resp.Topics[topic][0]
	switch ms {
	case kafka.FirstOffset:
		return p.FirstOffset, p.Error
	case kafka.LastOffset:
		return p.LastOffset, p.Error
	}
	for at := range p.Offsets {
		return at, p.Error
	}
	return -1, p.Error
}

func (l *kafkaGoLib) produce(topic string, o producing, records ...sent) []error {
	codecOf := map[string]kafka.Compression{"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}
	w := &kafka.Writer{
		Addr: l.addr, Topic: topic, RequiredAcks: kafka.RequireAll, Compression: codecOf[o.codec],
		BatchTimeout: 5 * time.Millisecond, BatchBytes: int64(o.limit), Transport: l.client.Transport,
		Balancer: kafka.BalancerFunc(func(kafka.Message, ...int) int { return records[0].partition }),
	}
	defer w.Close()
	var all []kafka.Message
	for _, r := range records {
		m := kafka.Message{Key: bytesOf(r.Key), Value: bytesOf(r.Value), Time: time.UnixMilli(baseTime + r.Time)}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: *h[0], Value: bytesOf(h[1])})
		}
		all = append(all, m)
	}
	err := w.WriteMessages(l.ctx, all...)
	if each, ok := errors.AsType[kafka.WriteErrors](err); ok {
		return each
	}
	return []error{err}
}

func (l *kafkaGoLib) reader(topic string, partition int, from int64, limit int) (*kafka.Reader, error) {
	c := kafka.ReaderConfig{Brokers: []string{l.addr.String()}, Topic: topic, Partition: partition, MaxWait: 100 * time.Millisecond}
	if limit > 0 {
		c.MinBytes, c.MaxBytes = 1, limit
	}
	r := kafka.NewReader(c)
	return r, r.SetOffset(from)
}

func (l *kafkaGoLib) read(topic string, partition int, from int64, n, limit int) ([]record, error) {
	r, err := l.reader(topic, partition, from, limit)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(l.ctx, time.Minute)
	defer cancel()
	var all []record
	for len(all) < n {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			return nil, fmt.Errorf("after %d of %d records: %w", len(all), n, err)
		}
		r := record{Offset: m.Offset, Time: m.Time.UnixMilli() - baseTime, Key: text(m.Key), Value: text(m.Value), Headers: [][]*string{}}
		for _, h := range m.Headers {
			r.Headers = append(r.Headers, []*string{&h.Key, text(h.Value)})
		}
		all = append(all, r)
	}
	return all, nil
}

func (l *kafkaGoLib) paused(string) (before, after map[string]string, err error) {
	return nil, nil, errLacks
}

// unread is the next to a pause: a reader that is not called, whose queue holds
// one record, reads on where it was, and holds nobody up meanwhile.
func (l *kafkaGoLib) unread(s *shared, scenario string) error {
	name, err := s.create(scenario, 1)
	if err != nil {
		return err
	}
	var send []sent
	for _, v := range unreadValues() {
		send = append(send, sent{record: record{Value: &v}})
	}
	if err := errors.Join(l.produce(name, producing{}, send...)...); err != nil {
		return err
	}
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{l.addr.String()}, Topic: name, QueueCapacity: 1, MaxWait: 100 * time.Millisecond})
	defer r.Close()
	first, err := r.ReadMessage(l.ctx)
	if err != nil {
		return err
	}
	read := []string{string(first.Value)}
	others, err := l.read(name, 0, 0, unreadCount, 0)
	if err != nil {
		return err
	}
	s.out.got(scenario, "read by another meanwhile", len(others))
	for len(read) < unreadCount {
		m, err := r.ReadMessage(l.ctx)
		if err != nil {
			return err
		}
		read = append(read, string(m.Value))
	}
	s.out.got(scenario, "in order when it is read on", slices.Equal(read, unreadValues()))
	return nil
}

func (l *kafkaGoLib) commit(group, topic string, partition int, at int64, note string) error {
	resp, err := l.client.OffsetCommit(l.ctx, &kafka.OffsetCommitRequest{
		GroupID: group, GenerationID: -1,
		Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: partition, Offset: at, Metadata: note}}},
	})
	if err != nil {
		return err
	}
	return resp.Topics[topic][0].Error
}

func (l *kafkaGoLib) committed(group, topic string, partition int) (int64, string, error) {
	resp, err := l.client.OffsetFetch(l.ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {partition}}})
	if err != nil {
		return 0, "", err
	}
	p := resp.Topics[topic][0]
	return p.CommittedOffset, p.Metadata, p.Error
}

func (l *kafkaGoLib) join(group, topic string, _ joining) (member, error) {
	g, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: group, Brokers: []string{l.addr.String()}, Topics: []string{topic}, StartOffset: kafka.FirstOffset,
		GroupBalancers: []kafka.GroupBalancer{kafka.RangeGroupBalancer{}}, HeartbeatInterval: 500 * time.Millisecond,
		JoinGroupBackoff: 100 * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(l.ctx)
	m := &kafkaGoMember{lib: l, topic: topic, group: g, stop: stop, next: make(map[string]map[int]int64)}
	m.wg.Go(func() { m.run(ctx) })
	return m, nil
}

// kafkaGoMember is a member of a group, without Reader's own group.
type kafkaGoMember struct {
	lib   *kafkaGoLib
	topic string
	group *kafka.ConsumerGroup
	stop  context.CancelFunc
	wg    sync.WaitGroup

	mu    sync.Mutex
	gen   *kafka.Generation
	owned []int32
	got   []string
	next  map[string]map[int]int64 // offsets to commit
}

// run takes part in one generation after the other.
func (m *kafkaGoMember) run(ctx context.Context) {
	for ctx.Err() == nil {
		gen, err := m.group.Next(ctx)
		if err != nil {
			continue // the group tries again, with its own delay
		}
		m.mu.Lock()
		m.gen, m.owned = gen, nil
		for _, a := range gen.Assignments[m.topic] {
			m.owned = append(m.owned, int32(a.ID))
			gen.Start(func(ctx context.Context) { m.consume(ctx, a) })
		}
		m.mu.Unlock()
	}
}

// consume reads a partition until its generation ends.
func (m *kafkaGoMember) consume(ctx context.Context, a kafka.PartitionAssignment) {
	r, err := m.lib.reader(m.topic, a.ID, a.Offset, 0)
	if err != nil {
		return
	}
	defer r.Close()
	for {
		msg, err := r.ReadMessage(ctx)
		if err != nil {
			return
		}
		m.mu.Lock()
		m.got = append(m.got, string(msg.Value))
		if m.next[m.topic] == nil {
			m.next[m.topic] = make(map[int]int64)
		}
		m.next[m.topic][a.ID] = msg.Offset + 1
		m.mu.Unlock()
	}
}

func (m *kafkaGoMember) assigned() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(slices.Values(m.owned))
}

func (m *kafkaGoMember) values() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.got)
}

func (m *kafkaGoMember) commit() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gen.CommitOffsets(m.next)
}

func (m *kafkaGoMember) leave() {
	m.stop()
	m.wg.Wait()
	_ = m.group.Close() // a second time it says that it is closed
}
