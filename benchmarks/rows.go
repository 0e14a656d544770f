// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// measure runs all sides of a workload, a repetition of each in turn: the first and
// one more, and others as long as they are likely to end in time.
func (b *bench) measure(ctx context.Context, w workload, until time.Time, r *report) (err error) {
	for _, n := range b.nodes {
		if err := fill(ctx, n.addr, w); err != nil {
			return err
		}
	}
	var all []*contender
	defer func() {
		for _, c := range all {
			err = errors.Join(err, c.leave())
		}
	}()
	for _, s := range b.takesPart(w) {
		c, err := b.enter(ctx, w, s)
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	var want map[string]outcome
	for rep, took := 0, time.Duration(0); rep <= b.warm && (rep < 2 || time.Now().Add(took).Before(until)); rep++ {
		begin := time.Now()
		for i, c := range all {
			id := fmt.Sprintf("%s-%d-%d-%d", w.topology, b.runs, i, rep)
			if err := c.repetition(ctx, w, id); err != nil {
				return err
			}
			b.say("%s", progress(w, c, rep))
			if rep == 0 {
				if want, err = c.check(ctx, w, id, want); err != nil {
					return err
				}
			}
			if err := c.remove(ctx, id); err != nil {
				return err
			}
		}
		took = time.Since(begin)
	}
	r.add(w, all)
	return nil
}

// check compares the output of a first repetition with what the first side wrote.
func (c *contender) check(ctx context.Context, w workload, id string, want map[string]outcome) (map[string]outcome, error) {
	got, err := c.outcomes(ctx, w, id)
	if err != nil {
		return nil, err
	}
	if len(got) == 0 {
		return nil, fmt.Errorf("%s has no output", c.side)
	}
	if want == nil {
		return got, nil
	}
	if differ := equal(got, want); differ != "" {
		return nil, fmt.Errorf("the outputs of %s are others than those of the first side: %s", c.side, differ)
	}
	return want, nil
}

// remove deletes the topics that a repetition made.
func (c *contender) remove(ctx context.Context, id string) error {
	topics, err := c.adm.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	var own []string
	for _, name := range topics.Names() {
		if name == id || strings.HasPrefix(name, id+"-") {
			own = append(own, name)
		}
	}
	if _, err := c.adm.DeleteTopics(ctx, own...); err != nil {
		return fmt.Errorf("delete the topics of %s: %w", id, err)
	}
	return os.RemoveAll(filepath.Join(c.data, id))
}

func progress(w workload, c *contender, rep int) string {
	s := c.samples[len(c.samples)-1]
	kind := "warm"
	if rep == 0 {
		kind = "cold"
	}
	return fmt.Sprintf("%s: %s, %s: %.2f us a record (%.2f + broker %.2f), %.0f records/s", w.name, c.side, kind,
		s.perRecord(s.app+s.broker), s.perRecord(s.app), s.perRecord(s.broker), s.rate)
}
