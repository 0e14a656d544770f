// SPDX-License-Identifier: Apache-2.0

package records

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A tracker knows how far a consumer is and how far it has to go.
type tracker struct {
	mu       sync.Mutex
	left     map[topicPartition]span // where from is below to
	ends     map[topicPartition]int64
	assigned bool // once: until then nothing is done
}

// trackAll follows what was asked for partition by partition.
func trackAll(spans map[topicPartition]span) *tracker {
	t := newTracker(spans)
	t.assigned = true
	for tp, s := range spans {
		t.add(tp, s)
	}
	return t
}

func newTracker(spans map[topicPartition]span) *tracker {
	t := &tracker{left: make(map[topicPartition]span), ends: make(map[topicPartition]int64)}
	for tp, s := range spans {
		t.ends[tp] = s.to
	}
	return t
}

func (t *tracker) add(tp topicPartition, s span) {
	if s.from < s.to {
		t.left[tp] = s
	}
}

// seen notes one record, control records included, and tells whether it was
// there when the tracker was made.
func (t *tracker) seen(r *kgo.Record) (before bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tp := topicPartition{r.Topic, r.Partition}
	if s, ok := t.left[tp]; ok && r.Offset+1 >= s.to {
		delete(t.left, tp)
	}
	return r.Offset < t.ends[tp]
}

// done tells whether all was seen.
func (t *tracker) done() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.assigned && len(t.left) == 0
}

// groupOptions have a member of a group follow what it is assigned: from what
// is committed, or from where spans begin, to where they end.
func (t *tracker) groupOptions(group string, spans map[topicPartition]span) []kgo.Opt {
	return []kgo.Opt{
		kgo.OnPartitionsAssigned(func(ctx context.Context, cl *kgo.Client, assigned map[string][]int32) {
			// Where this fails, the consumer goes on without an end that it knows of
			// and is ended by its user.
			committed, err := kadm.NewClient(cl).FetchOffsets(ctx, group)
			t.mu.Lock()
			defer t.mu.Unlock()
			t.assigned = err == nil
			for topic, partitions := range assigned {
				for _, p := range partitions {
					s := spans[topicPartition{topic, p}]
					if o, ok := committed.Lookup(topic, p); ok && o.Err == nil {
						s.from = o.At
					}
					t.add(topicPartition{topic, p}, s)
				}
			}
		}),
		kgo.OnPartitionsRevoked(t.forget),
		kgo.OnPartitionsLost(t.forget),
	}
}

func (t *tracker) forget(_ context.Context, _ *kgo.Client, revoked map[string][]int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for topic, partitions := range revoked {
		for _, p := range partitions {
			delete(t.left, topicPartition{topic, p})
		}
	}
}
