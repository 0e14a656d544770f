// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/internal/kafkatest"
	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link"
)

// Tests say themselves which way the link is to go.
func TestMain(m *testing.M) {
	if err := os.Unsetenv(link.Env); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// onBrokers runs a test on the bundled broker and on Apache Kafka, by batches and by the
// client's records.
func onBrokers(t *testing.T, test func(t *testing.T, cfg link.Config)) {
	for name, byRecord := range map[string]bool{"batches": false, "records": true} {
		t.Run("bundled/"+name, func(t *testing.T) {
			cfg := bundled(t)
			cfg.ByRecord = byRecord
			test(t, cfg)
		})
		t.Run("kafka/"+name, func(t *testing.T) {
			if testing.Short() {
				t.Skip("-short")
			}
			test(t, link.Config{
				Brokers: []string{kafkatest.Shared(t).Addr}, Group: "link-test-" + name, ByRecord: byRecord,
			})
		})
	}
}

func bundled(t *testing.T) link.Config {
	t.Helper()
	b, err := broker.Open(t.Context(), broker.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return link.Config{Brokers: []string{b.Addr()}, Group: "link-test", Dialer: b.Dial}
}

func open(t *testing.T, cfg link.Config) *link.Kafka {
	t.Helper()
	k, err := link.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func create(t *testing.T, k *link.Kafka, name string, partitions int32, configs map[string]string) link.Topic {
	t.Helper()
	ctx := within(t, 10*time.Second)
	nt := []link.NewTopic{{Name: name, Partitions: partitions, Replication: -1, Configs: configs}}
	for range 2 { // a topic that exists is no error
		if err := k.CreateTopics(ctx, nt); err != nil {
			t.Fatal(err)
		}
	}
	found, err := k.Topics(ctx, name, "no-such-topic")
	for err == nil && len(found) == 0 { // a new topic takes a moment to be known
		found, err = k.Topics(ctx, name, "no-such-topic")
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[name].Partitions != partitions {
		t.Fatalf("topics %v, want %s with %d partitions alone", found, name, partitions)
	}
	return found[name]
}

// barrier waits for all that was appended.
func barrier(t *testing.T, l link.Lane) error {
	t.Helper()
	done := make(chan error, 1)
	l.Barrier(func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-within(t, 20*time.Second).Done():
		t.Fatal("the barrier is not reached within 20 s")
		return nil
	}
}

func read(t *testing.T, r link.Reader) ([]plan.Raw, link.Position) {
	t.Helper()
	var all []plan.Raw
	for {
		recs, next, err := r.Next(within(t, 10*time.Second))
		if errors.Is(err, io.EOF) {
			return all, next
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, recs...)
	}
}

func TestWhatALaneAppendsAReaderReads(t *testing.T) {
	onBrokers(t, func(t *testing.T, cfg link.Config) {
		topic := cfg.Group + "-lane"
		k := open(t, cfg)
		info := create(t, k, topic, 3, nil)
		l := k.Lane()
		d := link.NewDest(topic, 1)
		if err := barrier(t, l); err != nil || d.Last() != -1 {
			t.Fatalf("barrier of nothing: %v, last offset %d", err, d.Last())
		}
		want := []plan.Raw{
			{Key: []byte("k"), Value: []byte("v"), Timestamp: 7, Headers: []plan.Header{{Key: "h", Value: []byte("x")}, {Key: "null"}}},
			{Key: nil, Value: []byte{}, Timestamp: 8},
			{Key: []byte{}, Value: nil, Timestamp: 9},
			{Key: []byte("large"), Value: []byte(strings.Repeat("x", 100_000)), Timestamp: 10},
		}
		for i := range 1000 { // some slabs
			want = append(want, plan.Raw{Key: fmt.Appendf(nil, "k%d", i), Value: []byte("v"), Timestamp: int64(i)})
		}
		scratch := make([]byte, 0, 200)
		for _, r := range want {
			key := r.Key
			if key != nil {
				key = append(scratch[:0], r.Key...) // the lane must not keep it
				if len(r.Key) == 0 {
					key = []byte{}
				}
			}
			if err := l.Append(d, key, r.Value, r.Timestamp, r.Headers); err != nil {
				t.Fatal(err)
			}
		}
		if err := barrier(t, l); err != nil {
			t.Fatal(err)
		}
		if last := d.Last(); last != int64(len(want)-1) {
			t.Errorf("last acknowledged offset %d, want %d", last, len(want)-1)
		}
		p := link.Partition{Topic: topic, Num: 1}
		ranges, err := k.Ranges(within(t, 10*time.Second), []link.Partition{p, {Topic: topic, Num: 0}})
		if err != nil {
			t.Fatal(err)
		}
		if r := ranges[p]; r != (link.Range{End: int64(len(want))}) {
			t.Errorf("range %v, want 0 to %d", r, len(want))
		}
		got, next := read(t, k.Read(p, info.ID, 0, ranges[p].End))
		if next.Offset != ranges[p].End || next.Epoch < 0 {
			t.Errorf("position at the end %v, want offset %d with an epoch", next, ranges[p].End)
		}
		for i := range got {
			if got[i].Offset != int64(i) {
				t.Fatalf("record %d has offset %d", i, got[i].Offset)
			}
			got[i].Offset, got[i].Epoch = 0, 0
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		end, err := k.EpochEnd(within(t, 10*time.Second), p, next.Epoch)
		if err != nil || end.Offset != int64(len(want)) {
			t.Errorf("end of epoch %d: %v, %v; want %d", next.Epoch, end, err, len(want))
		}
	})
}

func TestAReaderTellsOfRecordsThatAreDeleted(t *testing.T) {
	onBrokers(t, func(t *testing.T, cfg link.Config) {
		topic := cfg.Group + "-purged"
		k := open(t, cfg)
		info := create(t, k, topic, 1, map[string]string{"cleanup.policy": "delete", "delete.retention.ms": "1234"})
		l, d, p := k.Lane(), link.NewDest(topic, 0), link.Partition{Topic: topic}
		for range 10 {
			if err := l.Append(d, nil, []byte("v"), 1, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := barrier(t, l); err != nil {
			t.Fatal(err)
		}
		ctx := within(t, 10*time.Second)
		if err := k.DeleteRecords(ctx, map[link.Partition]int64{p: 6}); err != nil {
			t.Fatal(err)
		}
		_, _, err := k.Read(p, info.ID, 2, 10).Next(ctx)
		if _, ok := errors.AsType[*link.OutOfRangeError](err); !ok {
			t.Errorf("reading from offset 2: %v, want *OutOfRangeError", err)
		}
		if got, _ := read(t, k.Read(p, info.ID, 6, 9)); len(got) != 3 || got[2].Offset != 8 {
			t.Errorf("reading 6 to 9 gives %d records", len(got))
		}
		if v, err := k.TopicConfig(ctx, topic, "delete.retention.ms"); err != nil || v != "1234" {
			t.Errorf("delete.retention.ms is %q (%v), want 1234", v, err)
		}
	})
}

func TestAReaderEndsBehindMarkersOfTransactions(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	cfg := link.Config{Brokers: []string{kafkatest.Shared(t).Addr}, Group: "link-test"}
	k := open(t, cfg)
	info := create(t, k, "txn", 1, nil)
	cl, err := kgo.NewClient(append(cfg.ClientOptions(), kgo.TransactionalID("t"), kgo.DefaultProduceTopic("txn"))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx := within(t, 20*time.Second)
	for _, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(ctx, kgo.StringRecord("a"), kgo.StringRecord("b")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(ctx, commit); err != nil {
			t.Fatal(err)
		}
	}
	p := link.Partition{Topic: "txn"}
	for end := int64(0); end != 6; { // two records and a marker each; the last one comes late
		ranges, err := k.Ranges(ctx, []link.Partition{p})
		if err != nil {
			t.Fatal(err)
		}
		end = ranges[p].End
	}
	if got, next := read(t, k.Read(p, info.ID, 0, 6)); len(got) != 2 || next.Offset != 6 {
		t.Errorf("%d records up to offset %d, want the 2 that are committed, up to 6", len(got), next.Offset)
	}
}

// seat is a member with its events.
type seat struct {
	link.Member
	k      *link.Kafka
	events chan string

	mu    sync.Mutex
	owned map[link.Partition]bool
}

func sit(t *testing.T, cfg link.Config, topic, instance string) *seat {
	t.Helper()
	return sitting(t, cfg, link.MemberConfig{Topics: []string{topic}, Instance: instance})
}

// sitting joins with handlers of its own.
func sitting(t *testing.T, cfg link.Config, mc link.MemberConfig) *seat {
	t.Helper()
	s := &seat{k: open(t, cfg), events: make(chan string, 100), owned: map[link.Partition]bool{}}
	joined := make(chan struct{})
	mc.Assigned = func(parts []link.Partition) {
		<-joined
		s.set(parts, true)
		s.Resume(parts...)
		s.events <- "assigned"
	}
	mc.Revoked = func(parts []link.Partition) { s.set(parts, false); s.events <- "revoked" }
	mc.Lost = func(parts []link.Partition) { s.set(parts, false); s.events <- "lost" }
	m, err := s.k.Join(mc)
	if err != nil {
		t.Fatal(err)
	}
	s.Member = m
	close(joined)
	return s
}

func (s *seat) set(parts []link.Partition, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range parts {
		s.owned[p] = on
		if !on {
			delete(s.owned, p)
		}
	}
}

// await polls until ok, which looks at what the member owns and has read.
func (s *seat) await(t *testing.T, what string, ok func(owned int, read []plan.Raw) bool) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	var all []plan.Raw
	for {
		poll, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		batches, err := s.Poll(poll)
		cancel()
		if err != nil && poll.Err() == nil {
			t.Fatal(err)
		}
		for _, b := range batches {
			all = append(all, b.Records...)
		}
		s.Delivered()
		s.mu.Lock()
		n := len(s.owned)
		s.mu.Unlock()
		if ok(n, all) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

func owns(want int) func(int, []plan.Raw) bool {
	return func(owned int, _ []plan.Raw) bool { return owned == want }
}

func TestMembersReadCommitAndLeave(t *testing.T) {
	onBrokers(t, func(t *testing.T, cfg link.Config) {
		cfg.Group += "-members"
		topic := cfg.Group
		k := open(t, cfg)
		create(t, k, topic, 4, nil)
		l, d := k.Lane(), link.NewDest(topic, 2)
		for i := range 5 {
			if err := l.Append(d, []byte{byte(i)}, []byte("v"), 1, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := barrier(t, l); err != nil {
			t.Fatal(err)
		}
		first := sit(t, cfg, topic, "static-1")
		var seen []plan.Raw
		first.await(t, "records", func(owned int, read []plan.Raw) bool { seen = read; return owned == 4 && len(read) == 5 })
		p := link.Partition{Topic: topic, Num: 2}
		ctx := within(t, 20*time.Second)
		offsets := map[link.Partition]link.Position{p: {Offset: 3, Epoch: seen[2].Epoch}, {Topic: topic, Num: 99}: {Offset: 1}}
		if err := first.Commit(ctx, offsets); err != nil {
			t.Fatal(err)
		}
		got, err := k.Committed(ctx, []link.Partition{p, {Topic: topic}})
		if err != nil || len(got) != 1 || got[p].Offset != 3 {
			t.Errorf("committed %v (%v), want offset 3 of %s alone", got, err, p)
		}
		began := time.Now()
		if err := first.Leave(ctx, false); err != nil {
			t.Fatal(err)
		}
		if err := first.Commit(ctx, offsets); err != nil { // it owns nothing: nothing is sent
			t.Fatal(err)
		}
		second := sit(t, cfg, topic, "static-2")
		second.await(t, "partitions of the member that left", func(owned int, read []plan.Raw) bool {
			return owned == 4 && len(read) == 2 && read[0].Offset == 3
		})
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %s, as if the session of 45 s were waited for", took)
		}
		if err := second.Leave(ctx, true); err != nil {
			t.Fatal(err)
		}
		again := sit(t, cfg, topic, "static-2")
		again.await(t, "partitions of the member that stayed", owns(4))
		if err := again.Leave(ctx, false); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPausedPartitionsBringNothing(t *testing.T) {
	cfg := bundled(t)
	k := open(t, cfg)
	create(t, k, "paused", 1, nil)
	s := sit(t, cfg, "paused", "")
	s.await(t, "partition", owns(1))
	p := link.Partition{Topic: "paused"}
	s.Pause(p)
	l, d := k.Lane(), link.NewDest("paused", 0)
	if err := l.Append(d, nil, []byte("v"), 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := barrier(t, l); err != nil {
		t.Fatal(err)
	}
	poll, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	for poll.Err() == nil {
		if batches, err := s.Poll(poll); len(batches) > 0 || err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a paused partition brought %d batches, %v", len(batches), err)
		}
	}
	s.Resume(p)
	s.await(t, "the record", func(_ int, read []plan.Raw) bool { return len(read) == 1 })
	if err := s.Leave(within(t, 10*time.Second), false); err != nil {
		t.Fatal(err)
	}
}

func TestAFailureOfALaneStays(t *testing.T) {
	cfg := bundled(t)
	cfg.Extra = []kgo.Opt{kgo.UnknownTopicRetries(0), kgo.MetadataMinAge(20 * time.Millisecond)}
	k := open(t, cfg)
	l := k.Lane()
	d := link.NewDest("missing", link.AnyPartition)
	_ = l.Append(d, nil, []byte("v"), 1, nil) // may know already
	err := barrier(t, l)
	if err == nil || !strings.Contains(err.Error(), "produce to missing") {
		t.Fatalf("barrier answers %v, want an error that names the topic", err)
	}
	if again := l.Append(d, nil, nil, 1, nil); !errors.Is(again, err) {
		t.Errorf("the next append answers %v, want %v", again, err)
	}
	if again := barrier(t, l); !errors.Is(again, err) {
		t.Errorf("the next barrier answers %v, want %v", again, err)
	}
}

// refusing is the address of nobody, over real TCP.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestABrokerThatRefusesIsWaitedFor(t *testing.T) {
	var away, back atomic.Int32
	k := open(t, link.Config{Brokers: []string{refusing(t)}, Group: "g", OnAway: func(cause error) {
		if cause != nil {
			away.Add(1)
		} else {
			back.Add(1)
		}
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	if _, err := k.ID(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ID answers %v, want that the deadline was exceeded", err)
	}
	if away.Load() != 1 || back.Load() != 0 {
		t.Errorf("told %d times that brokers are away and %d times that they are back, want 1 and 0", away.Load(), back.Load())
	}
}

// The client looks for leaders and coordinators a few times only, within a second.
func TestQuestionsToLeadersWaitToo(t *testing.T) {
	k := open(t, link.Config{Brokers: []string{refusing(t)}, Group: "g"})
	parts := []link.Partition{{Topic: "t", Num: 0}}
	for name, ask := range map[string]func(context.Context) error{
		"ends":      func(ctx context.Context) error { _, err := k.Ends(ctx, parts); return err },
		"committed": func(ctx context.Context) error { _, err := k.Committed(ctx, parts); return err },
		"epoch end": func(ctx context.Context) error { _, err := k.EpochEnd(ctx, parts[0], 1); return err },
		"configs":   func(ctx context.Context) error { _, err := k.TopicConfig(ctx, "t", "retention.ms"); return err },
		"delete": func(ctx context.Context) error {
			return k.DeleteRecords(ctx, map[link.Partition]int64{parts[0]: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			if err := ask(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the answer is %v, want that the deadline was exceeded", err)
			}
		})
	}
}

func TestALaneHoldsAppendsBackWhileTooMuchIsOnItsWay(t *testing.T) {
	k := open(t, link.Config{Brokers: []string{refusing(t)}, Group: "g", MaxInFlight: 1 << 20})
	l, d := k.Lane(), link.NewDest("t", 0)
	var n atomic.Int64
	ended := make(chan error, 1)
	go func() {
		for {
			if err := l.Append(d, nil, make([]byte, 100), 1, nil); err != nil {
				ended <- err
				return
			}
			n.Add(1)
		}
	}()
	var last int64 = -1
	for n.Load() != last { // until it stands still
		last = n.Load()
		<-time.After(100 * time.Millisecond)
	}
	if sent := n.Load(); sent == 0 || sent*100 > 2<<20 {
		t.Errorf("%d records were taken with a bound of 1 MiB", sent)
	}
	l.Close()
	if err := <-ended; !errors.Is(err, link.ErrClosed) {
		t.Errorf("the waiting append answers %v, want ErrClosed", err)
	}
}

func TestConfigSaysAllThatIsWrong(t *testing.T) {
	_, err := link.Open(link.Config{SASL: link.SASL{Mechanism: "OAUTHBEARER"}})
	if err == nil {
		t.Fatal("a configuration without anything is taken")
	}
	for _, want := range []string{"no broker address", "no group id", "needs a token function"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	for _, m := range []string{"", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		k, err := link.Open(link.Config{Brokers: []string{"b:1"}, Group: "g", SASL: link.SASL{Mechanism: m, User: "u"}})
		if err != nil {
			t.Errorf("SASL %q: %v", m, err)
			continue
		}
		k.Close()
	}
}
