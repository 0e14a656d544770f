// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"time"
)

// A start is how long a program took until it served, and what it had in memory then.
type start struct {
	what   string
	took   time.Duration
	memory int64 // bytes resident
}

// programs starts the pass-through of each side once, on a topic with one record:
// from the launch of the process until its tasks run. A broker in its process is
// part of it.
func (b *bench) programs(ctx context.Context, r *report) error {
	in := input{records: 1, keys: 1, every: 1, step: time.Millisecond}
	w := workload{name: "start", topology: "pass", stores: "memory", byHand: true, inside: true, input: in}
	for _, s := range b.takesPart(w) {
		if n := b.nodes[s.on]; n != nil {
			if err := fill(ctx, n.addr, w); err != nil {
				return err
			}
		}
		if err := b.program(ctx, w, s, r); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) program(ctx context.Context, w workload, s side, r *report) (err error) {
	c, err := b.enter(ctx, w, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.leave()) }()
	const id = "start"
	if err := create(ctx, c.adm, id); err != nil {
		return err
	}
	if err := c.program.order("run "+id+" "+id, "running"); err != nil {
		return err
	}
	took := time.Since(c.launched)
	u, err := c.used()
	if err != nil {
		return err
	}
	r.starts = append(r.starts, start{s.String(), took, u[0].now})
	b.say("%s: ready after %v, %d MiB", s, took.Round(time.Millisecond), u[0].now>>20)
	return errors.Join(c.program.order("stop", "stopped"), c.remove(ctx, id))
}
