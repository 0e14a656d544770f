// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// A restored is how long a side took to read its state back from the changelog,
// after the state had been removed, until all its tasks ran.
type restored struct {
	side, on string
	keys     int
	took     time.Duration
	app      time.Duration // processor time
	broker   time.Duration
}

// restores counts a million keys and restores them.
func (b *bench) restores(ctx context.Context, r *report) error {
	keys := 1_000_000
	if b.quick {
		keys = 200_000
	}
	in := input{records: keys, keys: keys, every: 10, step: time.Millisecond, once: true}
	w := workload{name: "restore", topology: "count", folded: true, stores: "rocksdb", input: in}
	for _, s := range sides() {
		if s.name == "loop by hand" {
			continue
		}
		if err := load(ctx, b.nodes[s.on].addr, in); err != nil {
			return err
		}
		if err := b.restore(ctx, w, s, r); err != nil {
			return err
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
	if err := os.RemoveAll(filepath.Join(c.data, id)); err != nil {
		return fmt.Errorf("remove the state: %w", err)
	}
	before, err := c.used()
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := c.program.order("run "+id+" "+id, "running"); err != nil {
		return err
	}
	took := time.Since(begin)
	after, err := c.used()
	if err != nil {
		return err
	}
	r.restored = append(r.restored, restored{
		s.name, s.on, w.input.records, took, after[0].cpu - before[0].cpu, after[1].cpu - before[1].cpu,
	})
	fmt.Fprintf(os.Stderr, "restore of %d keys: %s on %s: %v\n", w.input.records, s.name, s.on, took.Round(time.Millisecond))
	if err := c.program.order("stop", "stopped"); err != nil {
		return err
	}
	return c.remove(ctx, id)
}
