// SPDX-License-Identifier: Apache-2.0

// Program byhand is the loop that a Go engineer writes without a framework: a
// franz-go consumer group, a Go map, the changed keys produced to a changelog
// and the offsets committed at an interval, at-least-once. It does what the
// topologies pass and count of benchmarks/app do, on the same orders.
//
// There is no restore, no rebalance but the loss of the map, no late records and
// no error policy: it is the least that the job costs.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type config struct {
	brokers         []string
	topology, input string
	folded          bool
	commit, linger  time.Duration
}

func main() {
	var cfg config
	brokers := flag.String("brokers", "", "addresses of the cluster")
	flag.StringVar(&cfg.topology, "topology", "", "pass or count")
	flag.StringVar(&cfg.input, "input", "", "the input topic")
	flag.BoolVar(&cfg.folded, "folded", false, "send results on once a commit, not with every update")
	flag.DurationVar(&cfg.commit, "commit", 100*time.Millisecond, "the commit interval")
	flag.DurationVar(&cfg.linger, "linger", 10*time.Millisecond, "the producer's linger")
	flag.Parse()
	cfg.brokers = strings.Split(*brokers, ",")
	if os.Getenv("GOGC") == "" { // as Millrace's side
		debug.SetGCPercent(400)
	}
	if err := serve(cfg); err != nil {
		fmt.Fprintln(os.Stderr, "byhand:", err)
		os.Exit(1)
	}
}

func serve(cfg config) error {
	var l *loop
	for orders := bufio.NewScanner(os.Stdin); orders.Scan(); {
		switch words := strings.Fields(orders.Text()); words[0] {
		case "run":
			var err error
			if l, err = start(cfg, words[1], words[2]); err != nil {
				return err
			}
			fmt.Println("running")
		case "stop":
			if err := l.stop(); err != nil {
				return err
			}
			fmt.Println("stopped")
		}
	}
	return nil
}

// A loop is one run of the job.
type loop struct {
	cfg               config
	client            *kgo.Client
	output, changelog string

	counts map[string]int64 // of all partitions of this process
	dirty  map[string]time.Time

	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
	err    error
}

func start(cfg config, id, output string) (*loop, error) {
	l := &loop{cfg: cfg, output: output, changelog: id + "-counts-changelog", counts: map[string]int64{}, dirty: map[string]time.Time{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	joined := make(chan struct{}, 16)
	client, err := kgo.NewClient(
		kgo.SeedBrokers(cfg.brokers...),
		kgo.ConsumerGroup(id),
		kgo.ConsumeTopics(cfg.input),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.ProducerLinger(cfg.linger),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { joined <- struct{}{} }),
	)
	if err != nil {
		return nil, err
	}
	l.client = client
	if cfg.topology == "count" {
		compact := "compact"
		adm := kadm.NewClient(client)
		if _, err := adm.CreateTopic(l.ctx, 4, 1, map[string]*string{"cleanup.policy": &compact}, l.changelog); err != nil {
			return nil, err
		}
	}
	l.done.Add(1)
	go l.run()
	<-joined
	return l, nil
}

func (l *loop) stop() error {
	l.cancel()
	l.done.Wait()
	l.client.CloseAllowingRebalance()
	return l.err
}

func (l *loop) run() {
	defer l.done.Done()
	next := time.Now().Add(l.cfg.commit)
	for l.ctx.Err() == nil {
		poll, cancel := context.WithDeadline(l.ctx, next)
		fetches := l.client.PollRecords(poll, 10_000)
		cancel()
		if err := fetches.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			l.err = err
			return
		}
		fetches.EachRecord(l.process)
		if now := time.Now(); !now.Before(next) {
			if err := l.commit(); err != nil && l.ctx.Err() == nil {
				l.err = err
				return
			}
			next = now.Add(l.cfg.commit)
		}
	}
}

func (l *loop) process(r *kgo.Record) {
	switch l.cfg.topology {
	case "pass":
		if r.Value[0] != '0' {
			l.produce(&kgo.Record{Topic: l.output, Key: r.Key, Value: r.Value[8:], Headers: r.Headers, Timestamp: r.Timestamp})
		}
	default:
		key := string(r.Key)
		n := l.counts[key] + 1
		l.counts[key] = n
		l.dirty[key] = r.Timestamp
		if !l.cfg.folded {
			l.write(l.output, r.Key, n, r.Timestamp)
		}
	}
}

// write writes a count to the changelog or to the output.
func (l *loop) write(topic string, key []byte, n int64, ts time.Time) {
	value := binary.BigEndian.AppendUint64(make([]byte, 0, 8), uint64(n))
	l.produce(&kgo.Record{Topic: topic, Key: key, Value: value, Timestamp: ts})
}

func (l *loop) produce(r *kgo.Record) {
	l.client.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "byhand: produce:", err)
			os.Exit(1)
		}
	})
}

func (l *loop) commit() error {
	for key, ts := range l.dirty {
		l.write(l.changelog, []byte(key), l.counts[key], ts)
		if l.cfg.folded {
			l.write(l.output, []byte(key), l.counts[key], ts)
		}
	}
	clear(l.dirty)
	if err := l.client.Flush(l.ctx); err != nil {
		return err
	}
	return l.client.CommitUncommittedOffsets(l.ctx)
}
