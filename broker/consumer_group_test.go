// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker"
)

// tracker notes which consumer has which partitions of a topic, by what the
// client tells it.
type tracker struct {
	mu   sync.Mutex
	has  map[string]map[int32]bool
	tick chan struct{} // has room for one
	bad  error
}

func newTracker() *tracker {
	return &tracker{has: map[string]map[int32]bool{}, tick: make(chan struct{}, 1)}
}

func (tr *tracker) assigned(name string, of []int32) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.has[name] == nil {
		tr.has[name] = map[int32]bool{}
	}
	for _, p := range of {
		for other, has := range tr.has {
			if other != name && has[p] {
				tr.bad = fmt.Errorf("partition %d is given to %s while %s has it", p, name, other)
			}
		}
		tr.has[name][p] = true
	}
	tr.changed()
}

func (tr *tracker) revoked(name string, of []int32) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, p := range of {
		delete(tr.has[name], p)
	}
	tr.changed()
}

func (tr *tracker) changed() {
	select {
	case tr.tick <- struct{}{}:
	default:
	}
}

// await waits until each of names has so many partitions, and nobody else any.
func (tr *tracker) await(t *testing.T, want map[string]int) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		tr.mu.Lock()
		ok, bad := true, tr.bad
		got := map[string]int{}
		for name, has := range tr.has {
			if len(has) > 0 {
				got[name] = len(has)
			}
		}
		tr.mu.Unlock()
		for name, n := range want {
			ok = ok && got[name] == n
		}
		switch {
		case bad != nil:
			t.Fatal(bad)
		case ok && len(got) == len(want):
			return
		}
		select {
		case <-tr.tick:
		case <-deadline:
			t.Fatalf("partitions: %v, want %v", got, want)
		}
	}
}

// consumer starts a group member that polls until stop is called.
func (tr *tracker) consumer(t *testing.T, b *broker.Broker, name, topic string, opts ...kgo.Opt) (cl *kgo.Client, stop func()) {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(b.Addr()), kgo.Dialer(b.Dial), kgo.ClientID(name),
		kgo.ConsumerGroup("g"), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.Balancers(kgo.RangeBalancer()), kgo.HeartbeatInterval(200 * time.Millisecond), kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { tr.assigned(name, m[topic]) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { tr.revoked(name, m[topic]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { tr.revoked(name, m[topic]) }),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			cl.PollFetches(ctx)
			cl.AllowRebalance()
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		cl.Close()
	})
	t.Cleanup(stop)
	return cl, stop
}

func admin(t *testing.T, b *broker.Broker) *kadm.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.Dialer(b.Dial))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

func fastConsumers() broker.Config {
	return broker.Config{ConsumerHeartbeatInterval: 100 * time.Millisecond}
}

// TestConsumerGroup takes franz-go's consumers through a life of a KIP-848
// group, in which no partition ever has two owners.
func TestConsumerGroup(t *testing.T) {
	b := open(t, fastConsumers())
	adm := admin(t, b)
	if _, err := adm.CreateTopic(t.Context(), 6, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	tr := newTracker()
	cl, stopA := tr.consumer(t, b, "a", "orders", kgo.ServerSideBalancer())
	tr.await(t, map[string]int{"a": 6})
	_, stopB := tr.consumer(t, b, "b", "orders", kgo.ServerSideBalancer())
	tr.await(t, map[string]int{"a": 3, "b": 3})

	cl.CommitOffsetsSync(t.Context(), map[string]map[int32]kgo.EpochOffset{"orders": {0: {Offset: 0}}},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
			if err != nil || resp.Topics[0].Partitions[0].ErrorCode != 0 {
				t.Errorf("commit: %+v, %v", resp, err)
			}
		})
	groups, err := adm.ListGroups(t.Context())
	if err != nil || groups["g"].ProtocolType != "consumer" || groups["g"].State != "Stable" {
		t.Errorf("listed as %+v: %v", groups["g"], err)
	}
	if got := describeConsumerGroup(t, b, "g"); got.State != "Stable" || len(got.Members) != 2 {
		t.Errorf("described as %+v", got)
	}

	if _, err := adm.CreatePartitions(t.Context(), 2, "orders"); err != nil {
		t.Fatal(err)
	}
	tr.await(t, map[string]int{"a": 4, "b": 4})
	stopB()
	tr.await(t, map[string]int{"a": 8})
	stopA()
	tr.await(t, map[string]int{})
	if r, err := adm.DeleteGroups(t.Context(), "g"); err != nil || r["g"].Err != nil {
		t.Errorf("delete: %+v, %v", r, err)
	}
}

// TestConsumerGroupConversion mixes classic and consumer members.
func TestConsumerGroupConversion(t *testing.T) {
	b := open(t, fastConsumers())
	if _, err := admin(t, b).CreateTopic(t.Context(), 6, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	tr := newTracker()
	_, stopOld := tr.consumer(t, b, "old", "orders", kgo.Balancers(kgo.CooperativeStickyBalancer()))
	tr.await(t, map[string]int{"old": 6})
	_, stopNew := tr.consumer(t, b, "new", "orders", kgo.ServerSideBalancer())
	tr.await(t, map[string]int{"old": 3, "new": 3})
	if d := describeConsumerGroup(t, b, "g"); len(d.Members) != 2 {
		t.Errorf("described as %+v", d)
	}
	_, stopOld2 := tr.consumer(t, b, "old2", "orders", kgo.Balancers(kgo.CooperativeStickyBalancer()))
	tr.await(t, map[string]int{"old": 2, "new": 2, "old2": 2})
	stopNew() // back to a classic group
	tr.await(t, map[string]int{"old": 3, "old2": 3})
	if d := describeConsumerGroup(t, b, "g"); d.ErrorCode != 69 { // GROUP_ID_NOT_FOUND
		t.Errorf("still a consumer group: %+v", d)
	}
	stopOld()
	tr.await(t, map[string]int{"old2": 6})
	stopOld2()
}

// TestConsumerGroupSurvivesRestart: members go on where they were.
func TestConsumerGroupSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	cfg := fastConsumers()
	cfg.Dir = dir
	b := open(t, cfg)
	if _, err := admin(t, b).CreateTopic(t.Context(), 4, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	c := dial(t, b)
	id := topicIDOf(t, c, "orders")
	awaitGroups(c)
	first := do[*kmsg.ConsumerGroupHeartbeatResponse](c, consumerHeartbeat("m", 0, "orders"))
	if first.ErrorCode != 0 || first.MemberEpoch != 2 || first.Assignment == nil || len(first.Assignment.Topics) != 1 ||
		first.Assignment.Topics[0].TopicID != id || len(first.Assignment.Topics[0].Partitions) != 4 {
		t.Fatalf("join: %+v %+v", first, first.Assignment)
	}
	before := describeConsumerGroup(t, b, "g")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, cfg)
	c = dial(t, b)
	var beat *kmsg.ConsumerGroupHeartbeatResponse
	for beat == nil || beat.ErrorCode == 14 { // COORDINATOR_LOAD_IN_PROGRESS
		beat = do[*kmsg.ConsumerGroupHeartbeatResponse](c, consumerHeartbeat("m", 2))
	}
	if beat.ErrorCode != 0 || beat.MemberEpoch != 2 || beat.Assignment != nil {
		t.Errorf("heartbeat after a restart: %+v", beat)
	}
	after := describeConsumerGroup(t, b, "g")
	if len(after.Members) != 1 || after.Epoch != before.Epoch ||
		!slices.Equal(after.Members[0].Assignment.TopicPartitions[0].Partitions, before.Members[0].Assignment.TopicPartitions[0].Partitions) {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
}

// consumerHeartbeat joins with topics, or stays without.
func consumerHeartbeat(member string, epoch int32, topics ...string) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch = 1, "g", member, epoch
	if len(topics) > 0 {
		req.RebalanceTimeoutMillis = 60_000
		req.SubscribedTopicNames = topics
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	return req
}

func topicIDOf(t *testing.T, c *client, topic string) [16]byte {
	t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = &topic
	req.Topics = append(req.Topics, rt)
	return do[*kmsg.MetadataResponse](c, req).Topics[0].TopicID
}

func describeConsumerGroup(t *testing.T, b *broker.Broker, group string) kmsg.ConsumerGroupDescribeResponseGroup {
	t.Helper()
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Version, req.Groups = 1, []string{group}
	return do[*kmsg.ConsumerGroupDescribeResponse](dial(t, b), req).Groups[0]
}

// TestOffsetsOfMissingPartitions are refused, one by one.
func TestOffsetsOfMissingPartitions(t *testing.T) {
	b := open(t, broker.Config{OffsetMetadataMaxBytes: 3})
	if _, err := admin(t, b).CreateTopic(t.Context(), 1, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 9, "g", -1
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic = "orders"
	for _, p := range []int32{0, 1, -1} {
		rp := kmsg.NewOffsetCommitRequestTopicPartition()
		rp.Partition, rp.Offset = p, 5
		rt.Partitions = append(rt.Partitions, rp)
	}
	long := rt.Partitions[0]
	long.Metadata = kmsg.StringPtr("long")
	rt.Partitions = append(rt.Partitions, long)
	req.Topics = append(req.Topics, rt)
	c := dial(t, b)
	awaitGroups(c)
	var codes []int16
	for _, p := range do[*kmsg.OffsetCommitResponse](c, req).Topics[0].Partitions {
		codes = append(codes, p.ErrorCode)
	}
	// UNKNOWN_TOPIC_OR_PARTITION twice, OFFSET_METADATA_TOO_LARGE
	if want := []int16{0, 3, 3, 12}; !slices.Equal(codes, want) {
		t.Errorf("codes %v, want %v", codes, want)
	}
	del := kmsg.NewPtrOffsetDeleteRequest()
	del.Group = "g"
	dt := kmsg.NewOffsetDeleteRequestTopic()
	dt.Topic = "orders"
	dt.Partitions = append(dt.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: 0}, kmsg.OffsetDeleteRequestTopicPartition{Partition: 1})
	del.Topics = append(del.Topics, dt)
	d := do[*kmsg.OffsetDeleteResponse](c, del)
	if d.ErrorCode != 0 || d.Topics[0].Partitions[0].ErrorCode != 0 || d.Topics[0].Partitions[1].ErrorCode != 3 {
		t.Errorf("offset delete: %+v", d)
	}
}
