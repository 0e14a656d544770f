// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A sample is one repetition of one side.
type sample struct {
	app, broker time.Duration // processor time
	records     int
	rate        float64 // records a second, from the first commit that was seen to the end
	appPeak     int64   // bytes resident, the most so far
	brokerPeak  int64
}

// perRecord is processor time a record, in microseconds.
func (s sample) perRecord(d time.Duration) float64 {
	return float64(d.Microseconds()) / float64(s.records)
}

// A contender is a side's program, running, with what it has measured.
type contender struct {
	side    side
	node    *node
	program *process
	adm     *kadm.Client
	client  *kgo.Client
	data    string
	samples []sample

	launched time.Time
}

// enter starts a side's program; it has nothing to do yet. Who has its broker in
// its own process gets the inputs now.
func (b *bench) enter(ctx context.Context, w workload, s side) (*contender, error) {
	b.runs++
	data := filepath.Join(b.dir, fmt.Sprintf("app-%d", b.runs))
	n := b.nodes[s.on]
	if s.on == inside {
		n = &node{name: inside, dir: data + "-broker"}
	}
	c := &contender{side: s, node: n, data: data, launched: time.Now()}
	var err error
	if c.program, err = launch(ctx, data+".log", s.argv(b, s, w, n, data)...); err != nil {
		return nil, err
	}
	if s.on == inside {
		if n.addr, err = c.program.listening(); err == nil {
			err = fill(ctx, n.addr, w)
		}
		if err != nil {
			return nil, errors.Join(err, c.program.end())
		}
	}
	if c.client, err = kgo.NewClient(kgo.SeedBrokers(n.addr)); err != nil {
		return nil, errors.Join(fmt.Errorf("open a client: %w", err), c.program.end())
	}
	c.adm = kadm.NewClient(c.client)
	return c, nil
}

func (c *contender) leave() error {
	c.client.Close()
	err := c.program.end()
	for _, dir := range []string{c.data, c.data + "-broker"} {
		if rm := os.RemoveAll(dir); err == nil && rm != nil {
			err = fmt.Errorf("remove stores: %w", rm)
		}
	}
	return err
}

// repetition runs the topology once over the whole input, as application id with
// an output topic of the same name.
func (c *contender) repetition(ctx context.Context, w workload, id string) error {
	if err := create(ctx, c.adm, id); err != nil {
		return err
	}
	before, err := c.used()
	if err != nil {
		return err
	}
	if err := c.program.order("run "+id+" "+id, "running"); err != nil {
		return err
	}
	rate, err := c.untilDone(ctx, w, w.input.topic(), id)
	if err != nil {
		return err
	}
	after, err := c.used()
	if err != nil {
		return err
	}
	c.samples = append(c.samples, sample{
		app: after[0].cpu - before[0].cpu, broker: after[1].cpu - before[1].cpu, records: w.records(), rate: rate,
		appPeak: after[0].peak, brokerPeak: after[1].peak,
	})
	return c.program.order("stop", "stopped")
}

// used is what the program and its broker have used so far. A broker in the
// program's process has nothing of its own.
func (c *contender) used() (both [2]usage, err error) {
	if c.node.pid == 0 {
		both[0], err = used(c.program.cmd.Process.Pid)
		return both, err
	}
	for i, pid := range []int{c.program.cmd.Process.Pid, c.node.pid} {
		if both[i], err = used(pid); err != nil {
			return both, err
		}
	}
	return both, nil
}

// askEvery is how often the committed offsets are asked for: the end is seen so
// much late, and each time costs the broker a request.
const askEvery = 25 * time.Millisecond

// untilDone waits until the committed offsets of the group have reached the end
// of the input topic and of the table, and answers at which rate they went on since the first commit.
func (c *contender) untilDone(ctx context.Context, w workload, topic, group string) (rate float64, err error) {
	ask := time.NewTicker(askEvery)
	defer ask.Stop()
	begin, had := time.Now(), int64(0)
	for {
		committed, err := c.adm.FetchOffsets(ctx, group)
		if err != nil {
			return 0, fmt.Errorf("ask for the offsets of %s: %w", group, err)
		}
		var sum int64
		committed.Each(func(o kadm.OffsetResponse) {
			if o.Topic == topic || o.Topic == w.table.topic() {
				sum += max(0, o.At)
			}
		})
		switch now := time.Now(); {
		case sum >= int64(w.records()):
			return float64(sum-had) / now.Sub(begin).Seconds(), nil
		case had == 0 && sum > 0:
			begin, had = now, sum
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%s, %s: %d of %d records are done: %w", c.side, w.name, sum, w.records(), ctx.Err())
		case <-c.program.lines:
			return 0, c.program.ended()
		case <-ask.C:
		}
	}
}
