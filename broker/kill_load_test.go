// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// client is a client of whatever broker lives at the moment.
func (k *killed) client(opts ...kgo.Opt) *kgo.Client {
	k.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers("killed.invalid:9092"),
		kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
			addr := k.addr.Load()
			if addr == nil {
				return nil, errors.New("the broker is dead")
			}
			return new(net.Dialer).DialContext(ctx, network, *addr)
		}),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.RequestRetries(1000), kgo.UnknownTopicRetries(-1), kgo.RetryTimeout(time.Minute),
		kgo.MetadataMinAge(20 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(cl.Close)
	return cl
}

// A killLoad is what the clients of a broker that is killed do, and what they were told.
type killLoad struct {
	k     *killed
	t     testing.TB
	admin *kadm.Client

	mu        sync.Mutex
	acked     map[string]map[position]string // by topic: values
	newest    map[string]int                 // of "compacted", by key: the last number acknowledged
	committed map[int32]int64                // of "events", by partition: the last offset whose commit was answered
	commits   int
	refused   int // records
}

type position struct {
	partition int32
	offset    int64
}

func newKillLoad(ctx context.Context, k *killed) *killLoad {
	l := &killLoad{
		k: k, t: k.t, admin: k.admin(), newest: map[string]int{}, committed: map[int32]int64{},
		acked: map[string]map[position]string{"events": {}, "compacted": {}},
	}
	policy, ratio, delay := "compact", "0.1", "0"
	if _, err := l.admin.CreateTopic(ctx, 2, 1, nil, "events"); err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.admin.CreateTopic(ctx, 1, 1, map[string]*string{
		"cleanup.policy": &policy, "min.cleanable.dirty.ratio": &ratio, "file.delete.delay.ms": &delay,
	}, "compacted"); err != nil {
		l.t.Fatal(err)
	}
	return l
}

// run starts the clients. stop tells them to finish what they are at.
func (l *killLoad) run(ctx context.Context, wg *sync.WaitGroup) (stop func()) {
	done := make(chan struct{})
	for i := range 2 {
		wg.Go(func() {
			l.produce(ctx, done, "events", i, func(n int) string { return fmt.Sprintf("%d-%d", i, n) })
		})
	}
	wg.Go(func() {
		l.produce(ctx, done, "compacted", 0, func(n int) string { // a few keys for some time, then others
			return fmt.Sprintf("k%d", n/400*7+n%7)
		})
	})
	wg.Go(func() { l.consume(ctx, done) })
	return func() { close(done) }
}

var killPadding = strings.Repeat(".", 150)

// produce is one idempotent producer: batches of a few records, without end.
func (l *killLoad) produce(ctx context.Context, done chan struct{}, topic string, id int, key func(n int) string) {
	cl := l.k.client(kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0))
	tick := time.NewTicker(4 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-done:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var recs []*kgo.Record
		for range 5 {
			recs = append(recs, &kgo.Record{Key: []byte(key(n)), Value: fmt.Appendf(nil, "%d/%d/%s", id, n, killPadding)})
			n++
		}
		results := cl.ProduceSync(ctx, recs...)
		l.mu.Lock()
		for _, r := range results {
			if r.Err != nil { // kgo gives up where a first connection ends at once
				l.refused++
				continue
			}
			l.acked[topic][position{r.Record.Partition, r.Record.Offset}] = string(r.Record.Value)
			if topic == "compacted" {
				_, number := numbersOf(r.Record.Value)
				l.newest[string(r.Record.Key)] = max(l.newest[string(r.Record.Key)], number)
			}
		}
		l.mu.Unlock()
	}
}

// numbersOf are the producer and the number in a value.
func numbersOf(value []byte) (producer, number int) {
	_, _ = fmt.Sscanf(string(value), "%d/%d/", &producer, &number)
	return producer, number
}

// consume is the one member of a group, which commits all that it has polled.
func (l *killLoad) consume(ctx context.Context, done chan struct{}) {
	cl := l.k.client(kgo.ConsumerGroup("group"), kgo.ConsumeTopics("events"), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond),
		kgo.HeartbeatInterval(200*time.Millisecond), kgo.SessionTimeout(6*time.Second))
	for {
		select {
		case <-done:
			return
		default:
		}
		poll, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		recs := cl.PollRecords(poll, 200).Records()
		cancel()
		if ctx.Err() != nil {
			return
		}
		if len(recs) == 0 {
			continue
		}
		commit, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := cl.CommitRecords(commit, recs...)
		cancel()
		if err != nil {
			continue // it is not acknowledged: it may be or not
		}
		l.mu.Lock()
		l.commits++
		for _, r := range recs {
			l.committed[r.Partition] = max(l.committed[r.Partition], r.Offset+1)
		}
		l.mu.Unlock()
	}
}

// checkCommitted asks the broker for the group's offsets: never less than what was
// acknowledged.
func (l *killLoad) checkCommitted(ctx context.Context) {
	l.mu.Lock()
	want := maps.Clone(l.committed)
	l.mu.Unlock()
	for ctx.Err() == nil && len(want) > 0 {
		ask, cancel := context.WithTimeout(ctx, time.Second)
		got, err := l.admin.FetchOffsets(ask, "group")
		cancel()
		if err != nil || got.Error() != nil {
			if l.k.ended() {
				return // at its fail point
			}
			continue // it is loading
		}
		for p, o := range want {
			if at, ok := got.Lookup("events", p); !ok || at.At < o {
				l.t.Errorf("committed offset of partition %d: %d (found: %v), but %d was acknowledged", p, at.At, ok, o)
			}
		}
		return
	}
}

// ended tells whether the process is dead.
func (k *killed) ended() bool {
	select {
	case <-k.gone:
		return true
	default:
		return false
	}
}

// check reads both topics from their beginning.
func (l *killLoad) check(ctx context.Context) {
	l.t.Helper()
	l.checkCommitted(ctx)
	if n := len(l.acked["events"]); l.refused > n/10 {
		l.t.Errorf("%d records were refused, %d events acknowledged", l.refused, n)
	}
	for topic, acked := range l.acked {
		seen := map[string]position{}
		last := map[[2]int]int{} // by producer and partition: the number
		newest := map[string]int{}
		found := map[position]string{}
		l.each(ctx, topic, func(r *kgo.Record) {
			at, value := position{r.Partition, r.Offset}, string(r.Value)
			producer, number := numbersOf(r.Value)
			if before, twice := seen[value]; twice {
				l.t.Errorf("%s: %.20q is there twice, at %v and %v", topic, value, before, at)
			}
			of := [2]int{producer, int(r.Partition)}
			if before, ok := last[of]; ok && number <= before {
				l.t.Errorf("%s %v: number %d of producer %d follows %d", topic, at, number, producer, before)
			}
			seen[value], last[of], newest[string(r.Key)], found[at] = at, number, number, value
		})
		lost := 0
		for at, value := range acked {
			got, ok := found[at]
			if ok && got != value {
				l.t.Errorf("%s %v holds %.20q, acknowledged was %.20q", topic, at, got, value)
			}
			if !ok && topic == "events" {
				lost++
			}
		}
		if lost > 0 {
			l.t.Errorf("%s: %d acknowledged records of %d are lost", topic, lost, len(acked))
		}
		if topic != "compacted" {
			continue
		}
		for key, number := range l.newest {
			if newest[key] < number {
				l.t.Errorf("%s: the newest of key %s is %d, acknowledged was %d", topic, key, newest[key], number)
			}
		}
	}
}

// each reads a topic to its end.
func (l *killLoad) each(ctx context.Context, topic string, fn func(r *kgo.Record)) {
	l.t.Helper()
	ends, err := l.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		l.t.Fatal(err)
	}
	starts := map[int32]kgo.Offset{}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			starts[o.Partition], left[o.Partition] = kgo.NewOffset().AtStart(), o.Offset
		}
	})
	cl := l.k.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: starts}), kgo.FetchMaxWait(50*time.Millisecond))
	for len(left) > 0 {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			l.t.Fatalf("read %s: %v, left are %v", topic, err, left)
		}
		fs.EachRecord(func(r *kgo.Record) {
			fn(r)
			if r.Offset+1 >= left[r.Partition] { // the last record is never compacted away
				delete(left, r.Partition)
			}
		})
	}
}

func (l *killLoad) figures() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%d events and %d records of the compacted topic acknowledged, %d refused, %d commits",
		len(l.acked["events"]), len(l.acked["compacted"]), l.refused, l.commits)
}
