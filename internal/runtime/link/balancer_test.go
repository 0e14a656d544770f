// SPDX-License-Identifier: Apache-2.0

package link_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/internal/runtime/assign"
	"github.com/millrace/millrace/internal/runtime/link"
)

// crew are the members of a group, in one process, and who has what.
type crew struct {
	t       *testing.T
	cfg     link.Config
	subs    []assign.Sub
	timeout time.Duration // of rebalances
	mu      sync.Mutex
	owner   map[link.Partition]string
	moves   int // partitions that were given to somebody
	views   map[string]assign.View
	changed chan struct{} // cap 1: something is different
}

// hand is a member with a loop that polls.
type hand struct {
	link.Member
	stop func()
}

func (c *crew) join(name string, subs []assign.Sub) *hand {
	c.t.Helper()
	var topics []string
	for _, s := range subs {
		topics = append(topics, s.Topics...)
	}
	m, err := open(c.t, c.cfg).Join(link.MemberConfig{
		Topics: topics, Instance: name, RebalanceTimeout: c.timeout,
		Balancing: link.Balancing{
			Subs: subs,
			Data: func() assign.Data { return assign.Data{Capacity: 1, Address: name + ":80"} },
			Told: func(a assign.Assignment) { c.note(func() { c.views[name] = a.View }) },
		},
		Assigned: func(parts []link.Partition) {
			c.note(func() {
				for _, p := range parts {
					if o, ok := c.owner[p]; ok {
						c.t.Errorf("%s gets %s, which %s has", name, p, o)
					}
					c.owner[p] = name
					c.moves++
				}
			})
		},
		Revoked: func(parts []link.Partition) { c.drop(parts) },
		Lost:    func(parts []link.Partition) { c.drop(parts) },
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			_, err := m.Poll(ctx)
			m.Delivered()
			if err != nil && ctx.Err() == nil {
				c.t.Errorf("poll: %v", err)
				return
			}
		}
	})
	h := &hand{m, func() { cancel(); wg.Wait() }}
	c.t.Cleanup(h.stop)
	return h
}

func (c *crew) drop(parts []link.Partition) {
	c.note(func() {
		for _, p := range parts {
			delete(c.owner, p)
		}
	})
}

func (c *crew) note(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// await waits until ok holds of the number of partitions of each member, and tasks
// are whole.
func (c *crew) await(what string, ok func(n map[string]int) bool) {
	c.t.Helper()
	ctx := within(c.t, 30*time.Second)
	for {
		c.mu.Lock()
		got := map[string]int{}
		for _, o := range c.owner {
			got[o]++
		}
		whole := c.whole()
		c.mu.Unlock()
		if whole && ok(got) {
			return
		}
		select {
		case <-c.changed:
		case <-ctx.Done():
			c.t.Fatalf("%s: partitions %v, tasks whole: %v", what, got, whole)
		}
	}
}

// have is the condition that each member has so many partitions.
func have(want map[string]int) func(map[string]int) bool {
	return func(n map[string]int) bool { return cmp.Equal(n, want) }
}

// halves is the condition that two members share the 9 tasks: three with two
// partitions each, and one or two with one.
func halves(a, b string) func(map[string]int) bool {
	return func(n map[string]int) bool {
		return len(n) == 2 && n[a]+n[b] == 15 && min(n[a], n[b]) == 7
	}
}

func (c *crew) whole() bool {
	for p, o := range c.owner {
		for _, s := range c.subs {
			for _, t := range s.Topics {
				if slices.Contains(s.Topics, p.Topic) && c.owner[link.Partition{Topic: t, Num: p.Num}] != o {
					return false
				}
			}
		}
	}
	return true
}

func (c *crew) leave(h *hand, stay bool) {
	c.t.Helper()
	h.stop()
	if err := h.Leave(within(c.t, 10*time.Second), stay); err != nil {
		c.t.Fatal(err)
	}
}

// count gives the partitions that were handed to anybody so far.
func (c *crew) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.moves
}

func TestMembersShareTasksAndKeepThemThroughARestart(t *testing.T) {
	onBrokers(t, func(t *testing.T, cfg link.Config) {
		cfg.Group += "-tasks"
		k := open(t, cfg)
		create(t, k, "tasks-left", 6, nil)
		create(t, k, "tasks-right", 6, nil)
		create(t, k, "tasks-other", 3, nil)
		c := &crew{
			t: t, cfg: cfg, owner: map[link.Partition]string{}, views: map[string]assign.View{},
			changed: make(chan struct{}, 1),
			subs: []assign.Sub{
				{Name: "tasks-left", Topics: []string{"tasks-left", "tasks-right"}, Stateful: true},
				{Name: "tasks-other", Topics: []string{"tasks-other"}},
			},
		}
		a := c.join("a", c.subs)
		c.await("alone", have(map[string]int{"a": 15}))
		b := c.join("b", c.subs)
		c.await("two", halves("a", "b"))
		third := c.join("c", c.subs)
		c.await("three", have(map[string]int{"a": 5, "b": 5, "c": 5}))
		c.checkViews("a", "b", "c")

		before := c.count()
		c.leave(b, true)
		c.await("one is away", have(map[string]int{"a": 5, "c": 5}))
		b = c.join("b", c.subs)
		c.await("it is back", have(map[string]int{"a": 5, "b": 5, "c": 5}))
		if moves := c.count() - before; moves != 5 {
			t.Errorf("a restart moved %d partitions, want the 5 of the member itself", moves)
		}

		c.leave(third, false)
		c.await("one has left", halves("a", "b"))
		c.leave(a, false)
		c.await("two have left", have(map[string]int{"b": 15}))
		c.leave(b, false)
	})
}

// A member that was told to release something while it was away comes back owning
// nothing, so nothing but our balancer has it join again, for which the group waits.
func TestTheGroupIsNotStuckWhenAMemberThatShouldReleaseComesBack(t *testing.T) {
	cfg := bundled(t)
	cfg.Group = "stuck"
	create(t, open(t, cfg), "stuck", 6, nil)
	c := &crew{
		t: t, cfg: cfg, owner: map[link.Partition]string{}, views: map[string]assign.View{},
		changed: make(chan struct{}, 1), timeout: 2 * time.Second,
		subs: []assign.Sub{{Name: "stuck", Topics: []string{"stuck"}}},
	}
	a := c.join("a", c.subs)
	c.await("alone", have(map[string]int{"a": 6}))
	b := c.join("b", c.subs) // so that a joins again, and says what it owns
	c.await("two", have(map[string]int{"a": 3, "b": 3}))
	c.leave(a, true)
	third := c.join("c", c.subs) // waits for a until the round's time is over, and gets what b gives
	c.await("two and one away", have(map[string]int{"b": 2, "c": 1}))
	a = c.join("a", c.subs)
	c.await("three", have(map[string]int{"a": 2, "b": 2, "c": 2}))
	for _, h := range []*hand{a, b, third} {
		c.leave(h, false)
	}
}

// checkViews waits until the members know where each task is.
func (c *crew) checkViews(names ...string) {
	c.t.Helper()
	ctx := within(c.t, 20*time.Second)
	for {
		c.mu.Lock()
		bad := ""
		for _, name := range names {
			at := map[string]int{}
			for _, h := range c.views[name].Hosts {
				at[h.Address] = len(h.Active)
			}
			want := map[string]int{}
			for _, n := range names {
				want[n+":80"] = 3
			}
			if d := cmp.Diff(want, at); d != "" {
				bad = fmt.Sprintf("%s knows of the tasks of each (-want +got):\n%s", name, d)
			}
		}
		c.mu.Unlock()
		if bad == "" {
			return
		}
		select {
		case <-c.changed:
		case <-ctx.Done():
			c.t.Fatal(bad)
		}
	}
}
