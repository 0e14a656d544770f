// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A latency is how long records took from the moment at which they were to be
// sent, by a driver that does not wait for anybody, to their arrival at a
// consumer of the output.
type latency struct {
	side, on       string
	rate           int // records a second
	p50, p99, p999 time.Duration
	worst          time.Duration
}

const (
	intended    = "sent" // header: ns since the Unix epoch, 8 bytes
	latencyRate = 2_000
	latencyMost = 50_000 // what the driver can do beside, on the same processors
)

// latencies drives the pass-through with linger 0, at 2,000 records a second, and at
// half of what the slowest side has reached in this run.
func (b *bench) latencies(ctx context.Context, r *report) error {
	linger := b.linger
	b.linger = 0
	defer func() { b.linger = linger }()
	rates := []int{latencyRate}
	if half := r.slowest("pass-through map+filter") / 2; half > latencyRate && !b.quick {
		rates = append(rates, min(half, latencyMost))
	}
	seconds := 20
	if b.quick {
		seconds = 6
	}
	w := workload{name: "latency", topology: "pass", stores: "memory", byHand: true, inside: true}
	for _, rate := range rates {
		for _, s := range b.takesPart(w) {
			if err := b.latency(ctx, w, s, rate, seconds, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) latency(ctx context.Context, w workload, s side, rate, seconds int, r *report) (err error) {
	// A topic that is empty: its name comes from a number of keys that no other has.
	in := input{keys: 10_000 + b.runs, every: 1, step: time.Millisecond}
	w.input = in
	if n := b.nodes[s.on]; n != nil {
		if err := fill(ctx, n.addr, w); err != nil {
			return err
		}
	}
	c, err := b.enter(ctx, w, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.leave()) }()
	id := fmt.Sprintf("latency-%d", b.runs)
	if err := create(ctx, c.adm, id); err != nil {
		return err
	}
	if err := c.program.order("run "+id+" "+id, "running"); err != nil {
		return err
	}
	// The first half warms up and does not count.
	times, err := drive(ctx, c.node.addr, in, id, rate, seconds)
	if err != nil {
		return err
	}
	l := quantiles(times[len(times)/2:])
	l.side, l.on, l.rate = s.name, s.on, rate
	r.latencies = append(r.latencies, l)
	b.say("latency at %d records/s: %s: p50 %v, p99 %v, p99.9 %v", rate, s, l.p50, l.p99, l.p999)
	return errors.Join(c.program.order("stop", "stopped"), c.remove(ctx, id))
}

// quantiles sorts times.
func quantiles(times []time.Duration) latency {
	slices.Sort(times)
	at := func(q float64) time.Duration { return times[min(len(times)-1, int(q*float64(len(times))))] }
	return latency{p50: at(0.5), p99: at(0.99), p999: at(0.999), worst: times[len(times)-1]}
}

// drive sends records on time, whatever happens to those before, and returns the
// latencies of those that pass lets through, in the order of their arrival.
func drive(ctx context.Context, addr string, in input, output string, rate, seconds int) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+time.Minute)
	defer cancel()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(in.topic()), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ConsumeTopics(output), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return nil, fmt.Errorf("open a client: %w", err)
	}
	defer client.Close()
	total := rate * seconds
	done := make(chan error, 1)
	go func() { done <- send(ctx, client, in, rate, total) }()
	times, err := receive(ctx, client, total-total/10) // pass drops each tenth
	return times, errors.Join(err, <-done)
}

func send(ctx context.Context, client *kgo.Client, in input, rate, total int) error {
	r := rand.New(rand.NewPCG(2, 2))
	gap := time.Second / time.Duration(rate)
	tick := time.NewTicker(min(gap, time.Millisecond))
	defer tick.Stop()
	begin := time.Now()
	for i := 0; i < total; {
		// All that are due by now: a driver that was held up does not forget them.
		for due := int(time.Since(begin) / gap); i < min(due, total); i++ {
			at := begin.Add(time.Duration(i) * gap)
			key, value, _ := in.record(i, r)
			client.Produce(ctx, &kgo.Record{
				Key: key, Value: value, Timestamp: at,
				Headers: []kgo.RecordHeader{{Key: intended, Value: binary.BigEndian.AppendUint64(nil, uint64(at.UnixNano()))}},
			}, nil)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("send: %w", ctx.Err())
		case <-tick.C:
		}
	}
	if err := client.Flush(ctx); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

func receive(ctx context.Context, client *kgo.Client, want int) ([]time.Duration, error) {
	times := make([]time.Duration, 0, want)
	for len(times) < want {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("receive, %d of %d so far: %w", len(times), want, err)
		}
		now := time.Now()
		fetches.EachRecord(func(r *kgo.Record) {
			for _, h := range r.Headers {
				if h.Key == intended && len(h.Value) == 8 {
					times = append(times, now.Sub(time.Unix(0, int64(binary.BigEndian.Uint64(h.Value)))))
				}
			}
		})
	}
	return times, nil
}
