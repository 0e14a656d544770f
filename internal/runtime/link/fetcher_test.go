// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafkatest"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/assign"
	"github.com/millrace/millrace/internal/runtime/link"
)

// number appends records with the values from..to-1 to a partition.
func number(t *testing.T, k *link.Kafka, p link.Partition, from, to int) {
	t.Helper()
	l, d := k.Lane(), link.NewDest(p.Topic, p.Num)
	for i := from; i < to; i++ {
		if err := l.Append(d, nil, fmt.Append(nil, i), int64(i+1), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := barrier(t, l); err != nil {
		t.Fatal(err)
	}
}

func values(recs []plan.Raw) []string {
	var all []string
	for _, r := range recs {
		all = append(all, string(r.Value))
	}
	return all
}

// wantRead polls until as many records have come, and no more.
func (s *seat) wantRead(t *testing.T, want ...string) []plan.Raw {
	t.Helper()
	var seen []plan.Raw
	s.await(t, fmt.Sprintf("records %v", want), func(_ int, read []plan.Raw) bool { seen = read; return len(read) >= len(want) })
	if got := values(seen); !slices.Equal(got, want) {
		t.Fatalf("records %v, want %v", got, want)
	}
	return seen
}

// What was committed is in the log no more: it goes on at the log's start.
func TestAMemberWhoseOffsetIsGoneBeginsAtTheStart(t *testing.T) {
	onBrokers(t, func(t *testing.T, cfg link.Config) {
		cfg.Group += "-gone"
		topic := cfg.Group
		p := link.Partition{Topic: topic}
		k := open(t, cfg)
		create(t, k, topic, 1, nil)
		number(t, k, p, 0, 10)
		s := sit(t, cfg, topic, "")
		s.await(t, "all", func(_ int, read []plan.Raw) bool { return len(read) == 10 })
		ctx := within(t, time.Minute)
		if err := s.Commit(ctx, map[link.Partition]link.Position{p: {Offset: 2, Epoch: -1}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Leave(ctx, false); err != nil {
			t.Fatal(err)
		}
		if err := k.DeleteRecords(ctx, map[link.Partition]int64{p: 7}); err != nil {
			t.Fatal(err)
		}
		s = sit(t, cfg, topic, "")
		s.wantRead(t, "7", "8", "9")
		if err := s.Leave(ctx, false); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAMemberSeeksWhatItHasRead(t *testing.T) {
	onBrokers(t, func(t *testing.T, cfg link.Config) {
		cfg.Group += "-sought"
		topic := cfg.Group
		p := link.Partition{Topic: topic}
		k := open(t, cfg)
		create(t, k, topic, 1, nil)
		number(t, k, p, 0, 4)
		s := sit(t, cfg, topic, "")
		s.wantRead(t, "0", "1", "2", "3")
		ctx, cancel := context.WithCancel(within(t, time.Minute))
		cancel()
		_, _ = s.Poll(ctx) // which keeps handlers out all the same
		s.Seek(map[link.Partition]int64{p: 1})
		s.Delivered()
		s.wantRead(t, "1", "2", "3")
		number(t, k, p, 4, 6)
		s.wantRead(t, "4", "5")
		if err := s.Leave(within(t, time.Minute), false); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAMemberBeginsWhereItsTopicDoes(t *testing.T) {
	onBrokers(t, func(t *testing.T, cfg link.Config) {
		base := cfg.Group
		for name, tt := range map[string]struct {
			reset plan.Reset
			first int
		}{
			"start":        {plan.Reset{From: plan.ResetStart}, 0},
			"an hour ago":  {plan.Reset{From: plan.ResetAgo, AgoMs: time.Hour.Milliseconds()}, 2},
			"a minute ago": {plan.Reset{From: plan.ResetAgo, AgoMs: time.Minute.Milliseconds()}, 4},
			"at the end":   {plan.Reset{From: plan.ResetEnd}, 4},
			"not said":     {plan.Reset{}, 0},
		} {
			t.Run(name, func(t *testing.T) {
				cfg := cfg
				cfg.Group = base + "-begin-" + strings.ReplaceAll(name, " ", "-")
				topic := cfg.Group
				k := open(t, cfg)
				create(t, k, topic, 1, nil)
				l, d := k.Lane(), link.NewDest(topic, 0)
				put := func(n int, ago time.Duration) {
					if err := l.Append(d, nil, fmt.Append(nil, n), time.Now().Add(-ago).UnixMilli(), nil); err != nil {
						t.Fatal(err)
					}
					if err := barrier(t, l); err != nil {
						t.Fatal(err)
					}
				}
				for n, ago := range []time.Duration{2 * time.Hour, 2 * time.Hour, 30 * time.Minute, 30 * time.Minute} {
					put(n, ago)
				}
				s := sitting(t, cfg, link.MemberConfig{Topics: []string{topic}, Resets: map[string]plan.Reset{topic: tt.reset}})
				select {
				case <-s.events: // it is assigned
				case <-within(t, time.Minute).Done():
					t.Fatal("the partition is not assigned within a minute")
				}
				var seen []string
				for n := 4; len(seen) == 0; n++ { // where the end was is known at some time after it is owned
					put(n, 0)
					s.await(t, "one look", func(_ int, read []plan.Raw) bool { seen = values(read); return true })
				}
				first, err := strconv.Atoi(seen[0])
				if err != nil || first < tt.first || tt.first < 4 && first > tt.first {
					t.Errorf("the first record is %s (%v), want %d", seen[0], err, tt.first)
				}
				if err := s.Leave(within(t, time.Minute), false); err != nil {
					t.Fatal(err)
				}
			})
		}
	})
}

// A member reads what is committed, and goes on behind what was aborted.
func TestAMemberLeavesAbortedTransactionsOut(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	for way, byRecord := range map[string]bool{"batches": false, "records": true} {
		t.Run(way, func(t *testing.T) {
			cfg := link.Config{Brokers: []string{kafkatest.Shared(t).Addr}, Group: "aborted-" + way, ByRecord: byRecord}
			topic := cfg.Group
			k := open(t, cfg)
			create(t, k, topic, 1, nil)
			cl, err := kgo.NewClient(append(cfg.ClientOptions(), kgo.TransactionalID(topic), kgo.DefaultProduceTopic(topic))...)
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			s := sit(t, cfg, topic, "")
			var want []string
			ctx := within(t, time.Minute)
			for i, commit := range []kgo.TransactionEndTry{
				kgo.TryCommit, kgo.TryAbort, kgo.TryAbort, kgo.TryCommit, kgo.TryAbort, kgo.TryCommit,
			} {
				if err := cl.BeginTransaction(); err != nil {
					t.Fatal(err)
				}
				for j := range 3 {
					value := fmt.Sprint(i, j)
					if err := cl.ProduceSync(ctx, kgo.StringRecord(value)).FirstErr(); err != nil {
						t.Fatal(err)
					}
					if commit == kgo.TryCommit {
						want = append(want, value)
					}
				}
				if err := cl.EndTransaction(ctx, commit); err != nil {
					t.Fatal(err)
				}
			}
			s.wantRead(t, want...)
			if err := s.Leave(ctx, false); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Whatever breaks, each record comes once and in order.
func TestAMemberOutlivesItsConnections(t *testing.T) {
	whole := bundled(t)
	k := open(t, whole)
	create(t, k, "frail", 3, nil)
	const records = 3000
	for num := range int32(3) {
		number(t, k, link.Partition{Topic: "frail", Num: num}, 0, records)
	}
	cfg := whole
	var mu sync.Mutex
	var broken atomic.Int64
	rng := rand.New(rand.NewPCG(3, 3))
	cfg.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := whole.Dialer(ctx, network, address)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		c := &brittle{Conn: conn}
		c.left.Store(1 << 40)
		if broken.Load() < 20 {
			broken.Add(1)
			c.left.Store(2_000 + rng.Int64N(20_000))
		}
		return c, nil
	}
	cfg.Extra = []kgo.Opt{kgo.FetchMaxBytes(8_000), kgo.FetchMaxPartitionBytes(3_000)}
	s := sit(t, cfg, "frail", "")
	next := map[link.Partition]int{}
	ctx := within(t, 2*time.Minute)
	for left := 3 * records; left > 0; {
		batches, err := s.Poll(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range batches {
			for _, r := range b.Records {
				if string(r.Value) != fmt.Sprint(next[b.Partition]) || r.Offset != int64(next[b.Partition]) {
					t.Fatalf("%v brings %s at offset %d, want %d", b.Partition, r.Value, r.Offset, next[b.Partition])
				}
				next[b.Partition]++
				left--
			}
		}
		s.Delivered()
	}
	if broken.Load() < 5 {
		t.Errorf("%d connections were to break: the test shows nothing", broken.Load())
	}
	if err := s.Leave(within(t, time.Minute), false); err != nil {
		t.Fatal(err)
	}
}

// While all that flows is at its end, one that begins to flow waits for none of it, however long
// the broker would.
func TestAPartitionThatBeginsToFlowWaitsForNoOther(t *testing.T) {
	cfg := bundled(t)
	cfg.Extra = []kgo.Opt{kgo.FetchMaxWait(5 * time.Minute)}
	k := open(t, cfg)
	create(t, k, "calm", 2, nil)
	full, calm := link.Partition{Topic: "calm", Num: 0}, link.Partition{Topic: "calm", Num: 1}
	number(t, k, calm, 0, 1)
	s := sit(t, cfg, "calm", "")
	s.Pause(full)
	s.wantRead(t, "0")
	s.await(t, "both", owns(2))
	s.Pause(full) // again: it was resumed when it was assigned
	number(t, k, full, 7, 8)
	s.Resume(full)
	s.wantRead(t, "7")
	if err := s.Leave(within(t, time.Minute), false); err != nil {
		t.Fatal(err)
	}
}

// What was polled is where it belongs before partitions change hands.
func TestNoHandlerRunsBeforeWhatWasPolledIsDelivered(t *testing.T) {
	cfg := bundled(t)
	k := open(t, cfg)
	create(t, k, "held", 1, nil)
	number(t, k, link.Partition{Topic: "held"}, 0, 1)
	told := make(chan struct{}, 100)
	s := sitting(t, cfg, link.MemberConfig{Topics: []string{"held"}, Balancing: link.Balancing{
		Told: func(assign.Assignment) { told <- struct{}{} },
	}})
	<-s.events
	ctx := within(t, time.Minute)
	for {
		batches, err := s.Poll(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(batches) > 0 {
			break
		}
		s.Delivered()
	}
	for len(told) > 0 {
		<-told
	}
	s.Rebalance()
	select {
	case <-told: // the handler is next
	case <-ctx.Done():
		t.Fatal("there is no round within a minute")
	}
	for range 20 { // time for it to run too early
		if _, err := k.Ends(ctx, []link.Partition{{Topic: "held"}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.events); n > 0 {
		t.Errorf("%d handlers have run", n)
	}
	s.Delivered()
	select {
	case <-s.events:
	case <-ctx.Done():
		t.Fatal("no handler runs within a minute")
	}
	if err := s.Leave(within(t, time.Minute), false); err != nil {
		t.Fatal(err)
	}
}
