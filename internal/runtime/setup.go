// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link"
)

// setUpTopics describes the plan's topics, makes the internal ones that are
// missing and checks those that are there. It returns all of them by name.
func setUpTopics(ctx context.Context, c link.Cluster, p *plan.Plan, replication int16) (map[string]link.Topic, error) {
	internals := p.Internals()
	names := map[string]bool{}
	for _, in := range internals {
		names[in.Name] = true
	}
	var sources []string
	for _, s := range p.Subs {
		for _, n := range s.Sources {
			if !n.Internal {
				sources = append(sources, n.Topic)
			}
			names[n.Topic] = true
		}
	}
	all := slices.Sorted(maps.Keys(names))
	found, err := c.Topics(ctx, all...)
	if err != nil {
		return nil, err
	}
	counts, err := settle(sources, internals, found)
	if err != nil {
		return nil, err
	}
	var create []link.NewTopic
	for _, in := range internals {
		if _, ok := found[in.Name]; !ok {
			create = append(create, newTopic(in, counts[in.Name], replication))
		}
	}
	if err := c.CreateTopics(ctx, create); err != nil {
		return nil, err
	}
	for try := 0; len(found) < len(all); try++ { // a new topic takes a moment to be known everywhere
		if try > 0 {
			if err := pause(ctx, 50*time.Millisecond); err != nil {
				return nil, err
			}
		}
		if found, err = c.Topics(ctx, all...); err != nil {
			return nil, err
		}
	}
	_, err = settle(sources, internals, found) // another instance may have been first
	return found, err
}

// settle gives the partition counts of the internal topics, and checks those that
// exist: as many as the largest of the topics that they follow.
func settle(sources []string, internals []plan.Internal, found map[string]link.Topic) (map[string]int32, error) {
	counts := map[string]int32{}
	var missing []string
	for _, name := range sources {
		t, ok := found[name]
		if !ok && !slices.Contains(missing, name) {
			missing = append(missing, fmt.Sprintf("%q", name))
		}
		counts[name] = t.Partitions
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("source topic %s does not exist: create it before the application is started", strings.Join(missing, ", "))
	}
	left := internals
	for len(left) > 0 {
		var later []plan.Internal
		for _, in := range left {
			if n, ok := largest(in.Sources, counts); ok {
				counts[in.Name] = n
			} else {
				later = append(later, in)
			}
		}
		if len(later) == len(left) {
			return nil, fmt.Errorf("topic %q follows itself in the number of its partitions: give it another source", left[0].Name)
		}
		left = later
	}
	var errs []error
	for _, in := range internals {
		if t, ok := found[in.Name]; ok && t.Partitions != counts[in.Name] {
			errs = append(errs, fmt.Errorf(
				"internal topic %q has %d partitions, not %d, which its sources %v have: reset the application (delete the topic and the state), or give the sources as many partitions as before",
				in.Name, t.Partitions, counts[in.Name], in.Sources))
		}
	}
	return counts, errors.Join(errs...)
}

func largest(topics []string, counts map[string]int32) (int32, bool) {
	var n int32
	for _, t := range topics {
		c, ok := counts[t]
		if !ok {
			return 0, false
		}
		n = max(n, c)
	}
	return n, true
}

// newTopic has the policies of Kafka Streams' InternalTopicConfig.
func newTopic(in plan.Internal, partitions int32, replication int16) link.NewTopic {
	t := link.NewTopic{Name: in.Name, Partitions: partitions, Replication: replication}
	if in.Changelog {
		t.Configs = map[string]string{"cleanup.policy": "compact"}
	} else {
		t.Configs = map[string]string{
			"cleanup.policy": "delete", "retention.ms": "-1", "segment.bytes": "52428800",
		}
	}
	t.Configs["message.timestamp.type"] = "CreateTime"
	return t
}

// pause waits, or returns why ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
