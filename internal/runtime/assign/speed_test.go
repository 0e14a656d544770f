// SPDX-License-Identifier: Apache-2.0

package assign_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/millrace/millrace/internal/runtime/assign"
)

// large is a group with 10000 tasks at 100 members, all of them with state.
func large(subs int) *world {
	w := &world{counts: map[string]int32{}, cfg: assign.Config{Replicas: 1}}
	for i := range subs {
		topic := fmt.Sprintf("topic-%04d", i)
		w.counts[topic] = int32(10_000 / subs)
		w.subs = append(w.subs, assign.Sub{Name: topic, Topics: []string{topic}, Stateful: true})
	}
	for i := range 100 {
		w.add(fmt.Sprintf("member-%03d", i), int32(1+i%3))
		w.members[i].Instance = w.members[i].ID
		w.members[i].Data.Address = fmt.Sprintf("10.0.0.%d:8080", i)
	}
	return w
}

// BenchmarkBalance deals 10000 tasks out to 100 members.
func BenchmarkBalance(b *testing.B) {
	for _, subs := range []int{1, 10, 1000} {
		changes := []struct {
			name   string
			change func(w *world)
		}{
			{"start", func(w *world) {}},
			{"same", func(w *world) { w.settle(b) }},
			{"join", func(w *world) { w.settle(b); w.add("late", 1) }},
			{"leave", func(w *world) { w.settle(b); w.members = slices.Delete(w.members, 20, 40) }},
			{"many", func(w *world) {
				all := w.members
				w.members = w.members[:5:5]
				w.settle(b)
				w.members = append(w.members, all[5:]...)
			}},
		}
		for _, c := range changes {
			b.Run(fmt.Sprintf("subs=%d/change=%s", subs, c.name), func(b *testing.B) {
				w := large(subs)
				c.change(w)
				in := w.input()
				for b.Loop() {
					assign.Balance(in)
				}
			})
		}
	}
}

// TestUserDataOfALargeGroupFitsIntoARecord keeps all that a group stores, which is
// one record, below Kafka's default limit of 1 MiB.
func TestUserDataOfALargeGroupFitsIntoARecord(t *testing.T) {
	for _, subs := range []int{1, 10, 200} {
		w := large(subs)
		p := w.settle(t)
		size, names := 0, 0
		for _, m := range w.members {
			size += len(assign.AppendData(nil, m.Data, m.Topics))
		}
		for _, s := range w.subs {
			names += 2 + len(s.Name)
		}
		for _, b := range p.Encode() {
			size += len(b)
		}
		size += len(w.members)*names + 10_000*4*2 // topics, and the partitions that the client writes
		t.Logf("%d sub-topologies: %d bytes", subs, size)
		if size > 1<<20 {
			t.Errorf("%d sub-topologies: %d bytes, more than 1 MiB", subs, size)
		}
	}
}

func TestViewsAreCutDownForGroupsThatAreTooLarge(t *testing.T) {
	w := large(10)
	a, err := assign.DecodeAssignment(assignmentOf(t, w.settle(t)))
	if err != nil || !a.View.Cut || len(a.View.Hosts) != 100 || a.View.Hosts[3].Address != "10.0.0.3:8080" {
		t.Errorf("100 members with 10000 tasks: %v, cut %v, %d hosts", err, a.View.Cut, len(a.View.Hosts))
	}
	w = large(10)
	w.members = w.members[:3]
	p := w.settle(t)
	a, err = assign.DecodeAssignment(assignmentOf(t, p))
	n := 0
	for _, h := range a.View.Hosts {
		n += len(h.Active)
	}
	if err != nil || a.View.Cut || n != 10_000 {
		t.Errorf("3 members with 10000 tasks: %v, cut %v, %d tasks", err, a.View.Cut, n)
	}
}

func assignmentOf(t *testing.T, p assign.Plan) []byte {
	t.Helper()
	return p.Encode()[0]
}
