// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A cluster is what an assignor is asked to deal with.
type cluster struct {
	subscribers []subscriber
	topics      []topicSize
}

// with returns the cluster after an assignment.
func (c cluster) with(targets map[string]partitions) cluster {
	c.subscribers = slices.Clone(c.subscribers)
	for i := range c.subscribers {
		c.subscribers[i].target = targets[c.subscribers[i].id]
	}
	return c
}

// randomCluster has up to eight members and five topics. If alike, all
// subscribe to all topics.
func randomCluster(rng *rand.Rand, alike bool) cluster {
	var c cluster
	wanted := map[[16]byte]bool{}
	sizes := map[[16]byte]int32{}
	for i := range 1 + rng.IntN(5) {
		sizes[[16]byte{byte(i)}] = int32(1 + rng.IntN(9))
	}
	for i := range 1 + rng.IntN(8) {
		s := subscriber{id: fmt.Sprintf("m%d", i)}
		if rng.IntN(3) == 0 {
			s.instance = fmt.Sprintf("i%d", 9-i)
		}
		for _, id := range sortedIDs(sizes) {
			if alike || rng.IntN(2) == 0 {
				s.topics = append(s.topics, id)
				wanted[id] = true
			}
		}
		c.subscribers = append(c.subscribers, s)
	}
	for _, id := range sortedIDs(wanted) {
		c.topics = append(c.topics, topicSize{id, sizes[id]})
	}
	return c
}

// check: each partition goes to one member that wants it.
func (c cluster) check(t *testing.T, targets map[string]partitions) {
	t.Helper()
	owner := map[partitionID]string{}
	for _, s := range c.subscribers {
		for id, of := range targets[s.id] {
			if !slices.Contains(s.topics, id) || len(of) == 0 || !slices.IsSorted(of) {
				t.Fatalf("%s gets %v of topic %x", s.id, of, id[:1])
			}
			for _, p := range of {
				if other, ok := owner[partitionID{id, p}]; ok {
					t.Fatalf("%x/%d goes to %s and %s", id[:1], p, other, s.id)
				}
				owner[partitionID{id, p}] = s.id
			}
		}
	}
	for _, topic := range c.topics {
		for p := range topic.partitions {
			if owner[partitionID{topic.id, p}] == "" {
				t.Fatalf("%x/%d goes to nobody", topic.id[:1], p)
			}
		}
	}
}

func total(p partitions) (n int) {
	for _, of := range p {
		n += len(of)
	}
	return n
}

func TestUniformAssignor(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 3))
		c := randomCluster(rng, seed%2 == 0)
		got := assign("uniform", c.subscribers, c.topics)
		c.check(t, got)
		// No partition could be moved to the better.
		for _, from := range c.subscribers {
			for id := range got[from.id] {
				for _, to := range c.subscribers {
					if slices.Contains(to.topics, id) && total(got[from.id]) > total(got[to.id])+1 {
						t.Fatalf("seed %d: %s has %d, %s has %d, and wants topic %x too", seed, from.id, total(got[from.id]), to.id, total(got[to.id]), id[:1])
					}
				}
			}
		}
		c = c.with(got)
		if again := assign("uniform", c.subscribers, c.topics); !maps.EqualFunc(got, again, partitions.equal) {
			t.Fatalf("seed %d: nothing has changed, but the assignment has:\n%s", seed, cmp.Diff(got, again))
		}
	}
}

// TestUniformAssignorMovesLittle: those that stay keep what they had when a
// member leaves, and give away no more than a newcomer gets.
func TestUniformAssignorMovesLittle(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 4))
		c := randomCluster(rng, true)
		got := assign("uniform", c.subscribers, c.topics)
		c = c.with(got)
		if len(c.subscribers) > 1 {
			fewer := c
			fewer.subscribers = slices.Delete(slices.Clone(c.subscribers), 0, 1)
			after := assign("uniform", fewer.subscribers, c.topics)
			fewer.check(t, after)
			for _, s := range fewer.subscribers {
				for id, of := range s.target {
					for _, p := range of {
						if !slices.Contains(after[s.id][id], p) {
							t.Fatalf("seed %d: %s loses %x/%d though one has left", seed, s.id, id[:1], p)
						}
					}
				}
			}
		}
		more := c
		more.subscribers = append(slices.Clone(c.subscribers), subscriber{id: "z", topics: c.subscribers[0].topics})
		after := assign("uniform", more.subscribers, c.topics)
		more.check(t, after)
		for _, s := range c.subscribers {
			for id, of := range after[s.id] {
				for _, p := range of {
					if !slices.Contains(s.target[id], p) {
						t.Fatalf("seed %d: %s gets %x/%d from another that stays", seed, s.id, id[:1], p)
					}
				}
			}
		}
	}
}

func TestRangeAssignor(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 5))
		c := randomCluster(rng, seed%2 == 0)
		got := assign("range", c.subscribers, c.topics)
		c.check(t, got)
		for _, s := range c.subscribers {
			for id, of := range got[s.id] {
				if int(of[len(of)-1]-of[0]) != len(of)-1 {
					t.Fatalf("seed %d: %s gets %v of topic %x, which is no range", seed, s.id, of, id[:1])
				}
			}
		}
		if seed%2 == 1 {
			continue
		}
		for _, a := range c.topics { // topics of one size are dealt out alike
			for _, b := range c.topics {
				for _, s := range c.subscribers {
					if a.partitions == b.partitions && !slices.Equal(got[s.id][a.id], got[s.id][b.id]) {
						t.Fatalf("seed %d: %s gets %v of topic %x and %v of topic %x", seed, s.id, got[s.id][a.id], a.id[:1], got[s.id][b.id], b.id[:1])
					}
				}
			}
		}
	}
}
