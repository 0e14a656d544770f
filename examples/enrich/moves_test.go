// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace"
	"github.com/millrace/millrace/broker"
	"github.com/millrace/millrace/internal/kafkatest"
	"github.com/millrace/millrace/processor"
)

// brokersVar has the test's own binary run an instance of the program: the test starts
// itself as several processes, and may kill them.
const (
	brokersVar = "ENRICH_TEST_BROKERS"
	nameVar    = "ENRICH_TEST_NAME"
	partsOf    = 4 // partitions of a topic
	patience   = 2 * time.Minute
)

func TestMain(m *testing.M) {
	if os.Getenv(brokersVar) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := millrace.Run(ctx, topology(), millrace.Config{
		Brokers: strings.Split(os.Getenv(brokersVar), ","),
		Engine: processor.Config{
			InstanceID: os.Getenv(nameVar), CommitInterval: 200 * time.Millisecond, SessionTimeout: 6 * time.Second,
			Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestOrdersAreEnrichedThroughMoves has instances join and leave while orders come: each
// order is enriched once. One is killed and does not come back: its tasks move when its
// session ends, and orders are enriched twice only if they were read and not committed.
func TestOrdersAreEnrichedThroughMoves(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs processes")
	}
	t.Run("bundled", func(t *testing.T) {
		b, err := broker.Open(t.Context(), broker.Config{Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		throughMoves(newShop(t, b.Addr()))
	})
	t.Run("Apache Kafka", func(t *testing.T) { throughMoves(newShop(t, kafkatest.Start(t).Addr)) })
}

func throughMoves(s *shop) {
	first := s.start("first")
	s.until("one instance works", s.share("first"), first)
	second := s.start("second")
	s.until("two instances work", s.share("first", "second"), first, second)
	third := s.start("third")
	s.until("three instances work", s.share("first", "second", "third"), first, second, third)
	second.leave()
	s.until("the tasks of one that has left work", s.share("first", "third"), first, third)
	fourth := s.start("fourth")
	s.until("one that has come late works", s.share("first", "third", "fourth"), first, third, fourth)
	s.settle(first, third, fourth)
	s.check(nil)

	s.order(1000)
	s.until("each partition has more that is committed", s.moved(), first, third, fourth)
	owned := s.assigned()["third"]
	third.kill()
	left := s.left(owned)
	s.until("the tasks of the one that was killed work", s.share("first", "fourth"), first, fourth)
	s.settle(first, fourth)
	first.leave()
	fourth.leave()
	s.check(left)
}

// A shop sends orders and looks at what becomes of them.
type shop struct {
	t      *testing.T
	addr   string
	client *kgo.Client
	admin  *kadm.Client
	sent   []*kgo.Record // the order of n is at n
}

func newShop(t *testing.T, addr string) *shop {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.MetadataMinAge(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s := &shop{t: t, addr: addr, client: client, admin: kadm.NewClient(client)}
	made, err := s.admin.CreateTopics(s.bounded(), partsOf, -1, nil, Orders.Name(), Customers.Name(), Products.Name(), Enriched.Name())
	if err != nil || made.Error() != nil {
		t.Fatal(err, made.Error())
	}
	var tables []*kgo.Record
	for n := range 7 {
		tables = append(tables, &kgo.Record{
			Topic: Products.Name(), Key: fmt.Appendf(nil, "p%d", n), Value: fmt.Appendf(nil, "Product %d,%d", n, 10*n),
		})
	}
	for n := range 40 {
		tables = append(tables, &kgo.Record{
			Topic: Customers.Name(), Key: fmt.Appendf(nil, "c%d", n), Value: fmt.Appendf(nil, "Customer %d,gold", n), Timestamp: time.UnixMilli(10),
		})
	}
	s.send(tables...)
	return s
}

func (s *shop) bounded() context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	return ctx
}

func (s *shop) send(records ...*kgo.Record) {
	s.t.Helper()
	if err := s.client.ProduceSync(s.bounded(), records...).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
}

// order sends orders, each for as many pieces as none before.
func (s *shop) order(number int) {
	s.t.Helper()
	var records []*kgo.Record
	for range number {
		n := len(s.sent)
		r := &kgo.Record{
			Topic: Orders.Name(), Key: fmt.Appendf(nil, "c%d", n%41), // one customer is not known
			Value: fmt.Appendf(nil, "p%d,%d", n%7, n), Timestamp: time.UnixMilli(1000 + int64(n)),
		}
		s.sent, records = append(s.sent, r), append(records, r)
	}
	s.send(records...)
}

// want is what must come of an order.
func want(n int) string {
	who := "somebody"
	if n%41 < 40 {
		who = fmt.Sprintf("Customer %d (gold)", n%41)
	}
	cents := n * 10 * (n % 7)
	return fmt.Sprintf("%s: %d x Product %d for %d.%02d", who, n, n%7, cents/100, cents%100)
}

// until sends orders until a condition holds.
func (s *shop) until(what string, ok func() bool, alive ...*instance) {
	s.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited %v for: %s; the group: %v", patience, what, s.assigned())
		}
		for _, i := range alive {
			select {
			case <-i.done:
				s.t.Fatalf("instance %s ended before: %s", i.name, what)
			default:
			}
		}
		s.order(20)
	}
}

// share gives the condition that just the named instances work on a fair share of the
// orders each, and have committed all that had been sent when they got it.
func (s *shop) share(names ...string) func() bool {
	var done func() bool
	return func() bool {
		by := s.assigned()
		fair := len(by) == len(names)
		for _, name := range names {
			fair = fair && len(by[name]) >= partsOf/len(names)
		}
		if !fair {
			done = nil
			return false
		}
		if done == nil {
			done = s.moved()
		}
		return done()
	}
}

// moved gives the condition that all that has been sent by now is committed.
func (s *shop) moved() func() bool {
	ends := s.ends()
	return func() bool {
		at := s.committed()
		for p, end := range ends {
			if at[p] < end {
				return false
			}
		}
		return true
	}
}

// settle waits until all orders are enriched and committed.
func (s *shop) settle(alive ...*instance) {
	s.t.Helper()
	s.until("all is committed", s.moved(), alive...)
	all := s.moved()
	for deadline := time.Now().Add(patience); !all(); {
		if time.Now().After(deadline) {
			s.t.Fatalf("committed %v, and %v were sent", s.committed(), s.ends())
		}
	}
}

// ends are the ends of the orders, by partition.
func (s *shop) ends() map[int32]int64 {
	ends := map[int32]int64{}
	for _, r := range s.sent {
		ends[r.Partition] = max(ends[r.Partition], r.Offset+1)
	}
	return ends
}

// committed are the offsets of orders that the group has committed.
func (s *shop) committed() map[int32]int64 {
	s.t.Helper()
	all, err := s.admin.FetchOffsets(s.bounded(), "enrich")
	if err != nil {
		s.t.Fatal(err)
	}
	at := map[int32]int64{}
	for p, o := range all[Orders.Name()] {
		at[p] = o.At
	}
	return at
}

// assigned gives the partitions of the orders by instance; nothing of a group in a
// rebalance, or whose coordinator is not there yet.
func (s *shop) assigned() map[string][]int32 {
	s.t.Helper()
	by := map[string][]int32{}
	groups, err := s.admin.DescribeGroups(s.bounded(), "enrich")
	if err != nil || groups["enrich"].State != "Stable" {
		return by
	}
	for _, m := range groups["enrich"].Members {
		got, ok := m.Assigned.AsConsumer()
		if !ok || m.InstanceID == nil {
			s.t.Fatalf("the assignment of %s cannot be read", m.MemberID)
		}
		by[*m.InstanceID] = []int32{}
		for _, topic := range got.Topics {
			if topic.Topic == Orders.Name() {
				by[*m.InstanceID] = topic.Partitions
			}
		}
	}
	return by
}

// left says which orders one that was killed may have read and not committed: those in
// its partitions, sent by now. Where its session has ended already, who took them over may
// have committed more, and only what was sent is known.
func (s *shop) left(owned []int32) map[int]bool {
	s.t.Helper()
	at := s.committed()
	_, member := s.assigned()["third"]
	left := map[int]bool{}
	for n, r := range s.sent {
		for _, p := range owned {
			left[n] = left[n] || r.Partition == p && (r.Offset >= at[p] || !member)
		}
	}
	return left
}

// check reads what has come of the orders: each is enriched, rightly, and once, but for
// those that may have been read again.
func (s *shop) check(again map[int]bool) {
	s.t.Helper()
	seen, twice := make([]int, len(s.sent)), 0
	for _, r := range s.enriched() {
		_, rest, _ := strings.Cut(string(r.Value), ": ")
		number, _, _ := strings.Cut(rest, " x ")
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 || n >= len(seen) || string(r.Value) != want(n) || string(r.Key) != string(s.sent[n].Key) {
			s.t.Fatalf("%s: %q is no enriched order", r.Key, r.Value)
		}
		if seen[n]++; seen[n] > 1 {
			twice++
			if !again[n] {
				s.t.Errorf("order %d, offset %d of partition %d, is enriched %d times", n, s.sent[n].Offset, s.sent[n].Partition, seen[n])
			}
		}
	}
	for n, times := range seen {
		if times == 0 {
			s.t.Errorf("order %d, offset %d of partition %d, is not enriched", n, s.sent[n].Offset, s.sent[n].Partition)
		}
	}
	read := 0
	for _, is := range again {
		if is {
			read++
		}
	}
	s.t.Logf("%d orders, %d enriched twice of at most %d", len(seen), twice, read)
}

func (s *shop) enriched() []*kgo.Record {
	s.t.Helper()
	ends, err := s.admin.ListEndOffsets(s.bounded(), Enriched.Name())
	if err != nil {
		s.t.Fatal(err)
	}
	total := 0
	ends.Each(func(o kadm.ListedOffset) { total += int(o.Offset) })
	client, err := kgo.NewClient(kgo.SeedBrokers(s.addr), kgo.ConsumeTopics(Enriched.Name()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	var all []*kgo.Record
	for ctx := s.bounded(); len(all) < total; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, fetches.Records()...)
	}
	return all
}

// An instance is a process of the program.
type instance struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error // once done is closed
}

func (s *shop) start(name string) *instance {
	s.t.Helper()
	i := &instance{t: s.t, name: name, cmd: exec.Command(os.Args[0]), done: make(chan struct{})}
	i.cmd.Env = append(os.Environ(), brokersVar+"="+s.addr, nameVar+"="+name)
	i.cmd.Stdout, i.cmd.Stderr = os.Stderr, os.Stderr
	if err := i.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		i.err = i.cmd.Wait()
		close(i.done)
	}()
	s.t.Cleanup(i.kill)
	return i
}

// kill ends the process as kill -9 does.
func (i *instance) kill() {
	_ = i.cmd.Process.Kill() // it may have ended
	<-i.done
}

// leave has the process end in good order.
func (i *instance) leave() {
	i.t.Helper()
	if err := i.cmd.Process.Signal(os.Interrupt); err != nil {
		i.t.Fatal(err)
	}
	select {
	case <-i.done:
	case <-time.After(patience):
		i.t.Fatalf("instance %s does not end", i.name)
	}
	if i.err != nil {
		i.t.Fatalf("instance %s: %v", i.name, i.err)
	}
}
