// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A restored is what a side has taken to read its state back from the changelog after
// the state had been removed: until all its tasks ran, less what the same start took
// with the state in place.
type restored struct {
	side, on string
	keys     int
	mixed    bool          // the changelog has them in any order
	start    time.Duration // with the state in place: to join the group, above all
	took     time.Duration // more than that
	app      time.Duration // processor time, the same way
	broker   time.Duration
}

func (x restored) order() string {
	if x.mixed {
		return "mixed"
	}
	return "in order"
}

// restores counts a million keys, that come in order and mixed, and with -all 20 million,
// and restores them.
func (b *bench) restores(ctx context.Context, r *report) error {
	type size struct {
		keys  float64
		mixed bool
	}
	sizes := []size{{1e6, false}, {1e6, true}}
	if b.long {
		sizes = append(sizes, size{20e6, true})
	}
	for _, size := range sizes {
		keys := int(size.keys * b.scale)
		w := workload{name: "restore", topology: "count", folded: true, stores: "rocksdb"}
		for i, s := range b.takesPart(w) {
			// Each has a topic of its own, since the check adds to it.
			in := input{records: keys, keys: keys, every: 10, step: time.Millisecond, once: !size.mixed, full: size.mixed, from: time.Duration(i) * time.Millisecond}
			w.input = in
			if err := load(ctx, b.nodes[s.on].addr, in); err != nil {
				return err
			}
			if err := b.restore(ctx, w, s, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) restore(ctx context.Context, w workload, s side, r *report) (err error) {
	c, err := b.enter(ctx, w, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.leave()) }()
	id := fmt.Sprintf("restore-%d", b.runs)
	if err := c.repetition(ctx, w, id); err != nil {
		return err
	}
	var with comeback
	for range 2 { // the first has to do what is done once
		if with, err = c.comeBack(ctx, id); err != nil {
			return err
		}
		if err := c.program.order("stop", "stopped"); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(filepath.Join(c.data, id)); err != nil {
		return fmt.Errorf("remove the state: %w", err)
	}
	without, err := c.comeBack(ctx, id)
	if err != nil {
		return err
	}
	if err := c.countedOn(ctx, w, id); err != nil {
		return err
	}
	x := restored{s.name, s.on, w.input.records, w.input.full, with.took, without.took - with.took, without.app - with.app, without.broker - with.broker}
	r.restored = append(r.restored, x)
	b.say("restore of %d keys %s: %s: %v, a start without %v", x.keys, x.order(), s, x.took.Round(time.Millisecond), x.start.Round(time.Millisecond))
	return errors.Join(c.program.order("stop", "stopped"), c.remove(ctx, id))
}

// A comeback is a start of an application until all its tasks run.
type comeback struct{ took, app, broker time.Duration }

// comeBack starts the application again, when its group has forgotten its last members,
// which Kafka Streams leaves to their session.
func (c *contender) comeBack(ctx context.Context, id string) (comeback, error) {
	if err := c.forgotten(ctx, id); err != nil {
		return comeback{}, err
	}
	before, err := c.used()
	if err != nil {
		return comeback{}, err
	}
	begin := time.Now()
	if err := c.program.order("run "+id+" "+id, "running"); err != nil {
		return comeback{}, err
	}
	took := time.Since(begin)
	after, err := c.used()
	if err != nil {
		return comeback{}, err
	}
	return comeback{took, after[0].cpu - before[0].cpu, after[1].cpu - before[1].cpu}, nil
}

// forgotten waits until a group has no members.
func (c *contender) forgotten(ctx context.Context, id string) error {
	ask := time.NewTicker(askEvery)
	defer ask.Stop()
	for {
		groups, err := c.adm.DescribeGroups(ctx, id)
		if err != nil {
			return fmt.Errorf("describe the group of %s: %w", id, err)
		}
		if len(groups[id].Members) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ask.C:
		}
	}
}

// countedOn checks what was restored: some keys get a second record, and their
// counts must be two.
func (c *contender) countedOn(ctx context.Context, w workload, id string) error {
	again := min(1000, w.input.keys)
	last := w.input
	last.records += again
	at := time.UnixMilli(base + int64(w.input.records))
	for i := range again {
		c.client.Produce(ctx, &kgo.Record{
			Topic: w.input.topic(), Key: fmt.Appendf(nil, "k%08d", i), Value: make([]byte, valueBytes), Timestamp: at,
		}, nil)
	}
	if err := c.client.Flush(ctx); err != nil {
		return fmt.Errorf("send second records: %w", err)
	}
	if _, err := c.untilDone(ctx, workload{name: w.name, input: last}, w.input.topic(), id); err != nil {
		return err
	}
	got, err := c.outcomes(ctx, w, id)
	if err != nil {
		return err
	}
	two := roll(0, &kgo.Record{Value: binary.BigEndian.AppendUint64(nil, 2), Timestamp: at})
	for i := range again {
		if key := fmt.Sprintf("k%08d", i); got[key].hash != two {
			return fmt.Errorf("%s: after the restore the second record of %s does not count as one", c.side, key)
		}
	}
	return nil
}
