// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRestartsInTurnMoveNoTask restarts two of three instances in the middle of the
// work, each within its session: one that is interrupted and stays a member, known by
// the id in its folder, and one that is killed and comes back by its name alone, with an
// empty folder. No task moves, and those of the others are never stopped. The counts are
// right, but for what the killed one had read and not committed.
func TestRestartsInTurnMoveNoTask(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs processes")
	}
	for name, open := range brokers {
		t.Run(name, func(t *testing.T) { restartsInTurn(t, open(t)) })
	}
}

func restartsInTurn(t *testing.T, addr string) {
	c := reach(t, addr)
	c.clean(t)
	text := newCorpus(t, 7, corpusBytes()/4)
	out := filepath.Join(t.TempDir(), "counts")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	first := newInstance(t, r, addr, "--out", out, "-")
	r.Close() // the process has its own
	feed := newPacer(t, w, text)
	feed.little = 15 // so that it lasts, on a slow machine too
	data := t.TempDir()
	second := newInstanceOn(t, data, nil, addr, "--stay")
	third := newInstance(t, nil, addr, "--instance", "third")
	feed.until("three instances count", func() bool { return first.counts() && second.counts() && third.counts() },
		first.p, second.p, third.p)
	feed.until("the work is shared", func() bool {
		a, b, c := first.runs(), second.runs(), third.runs()
		return a+b+c == 16 && min(a, b, c) == 5
	}, first.p, second.p, third.p)
	before, shares := c.assigned(t), []int{first.runs(), second.runs(), third.runs()}
	if len(before) != 3 {
		t.Fatalf("the group has members %v, want 3", slices.Collect(maps.Keys(before)))
	}

	marks := []mark{first.mark(), third.mark()}
	second.p.signal(t, os.Interrupt)
	second.p.finish(t, patience)
	feed.until("the others go on", func() bool { return marks[0].beyond() && marks[1].beyond() }, first.p, third.p)
	second = newInstanceOn(t, data, nil, addr, "--stay")
	feed.until("the second instance runs its tasks again", func() bool { return second.runs() == shares[1] && second.counts() }, first.p, second.p, third.p)
	sameTasks(t, "an instance that was interrupted is back", before, c.assigned(t), marks)

	marks = []mark{first.mark(), second.mark()}
	j := &job{t: t, corpus: text, brokers: addr, stride: map[string]int64{}}
	third.p.kill()
	j.note(third.p, third.tr)
	feed.until("the others go on", func() bool { return marks[0].beyond() && marks[1].beyond() }, first.p, second.p)
	third = newInstance(t, nil, addr, "--instance", "third")
	feed.until("the third instance runs its tasks again", func() bool { return third.runs() == shares[2] && third.counts() }, first.p, second.p, third.p)
	sameTasks(t, "an instance that was killed is back", before, c.assigned(t), marks)

	feed.upTo(1)
	w.Close()
	first.p.finish(t, finishBound)
	for _, i := range []*instance{second, third} {
		i.p.signal(t, os.Interrupt)
		i.p.finish(t, patience)
	}
	atMost(t, j, c, readCounts(t, out))
}

// runs counts the tasks that an instance runs.
func (i *instance) runs() int {
	i.t.Helper()
	return len(running(i.tr.last(i.t)))
}

// running lists the tasks that run, in order.
func running(s sample) []string {
	var ids []string
	for _, task := range s.Tasks {
		if task.Running {
			ids = append(ids, task.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// A mark is how far an instance was at some moment.
type mark struct {
	i  *instance
	at int // sample
}

func (i *instance) mark() mark {
	i.t.Helper()
	i.tr.last(i.t)
	return mark{i, len(i.tr.samples) - 1}
}

// beyond tells whether the instance has committed more of each of its tasks' words.
func (m mark) beyond() bool {
	m.i.t.Helper()
	now, then := m.i.tr.last(m.i.t).committed(), m.i.tr.samples[m.at].committed()
	for p, at := range then {
		if p.topic == wordsTopic && now[p] <= at {
			return false
		}
	}
	return true
}

// sameTasks fails the test if anything has moved, or if a task of those who stayed was
// stopped since their marks.
func sameTasks(t *testing.T, when string, before, after map[string][]string, marks []mark) {
	t.Helper()
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("%s, and partitions have moved (-before +after):\n%s", when, diff)
	}
	for _, m := range marks {
		want := running(m.i.tr.samples[m.at])
		for _, s := range m.i.tr.samples[m.at:] {
			if diff := cmp.Diff(want, running(s)); diff != "" {
				t.Fatalf("%s, and tasks of another were stopped meanwhile (-before +then):\n%s", when, diff)
			}
		}
	}
}

// assigned gives the partitions of the group's members, by instance id.
func (c *cluster) assigned(t *testing.T) map[string][]string {
	t.Helper()
	groups, err := c.admin.DescribeGroups(bounded(t), group)
	if err != nil {
		t.Fatal(err)
	}
	by := map[string][]string{}
	for _, m := range groups[group].Members {
		id := m.MemberID
		if m.InstanceID != nil {
			id = *m.InstanceID
		}
		got, ok := m.Assigned.AsConsumer()
		if !ok {
			t.Fatalf("the assignment of %s cannot be read", id)
		}
		by[id] = []string{}
		for _, topic := range got.Topics {
			for _, n := range topic.Partitions {
				by[id] = append(by[id], fmt.Sprintf("%s-%d", topic.Topic, n))
			}
		}
		slices.Sort(by[id])
	}
	return by
}

// atMost holds the counts against the truth, and against what was read again.
func atMost(t *testing.T, j *job, c *cluster, counts map[string]int64) {
	t.Helper()
	for word, n := range j.corpus.counts {
		if counts[word] < n {
			t.Errorf("count of %q = %d, and there are %d", word, counts[word], n)
		}
	}
	sent, counted := j.readAgain(c.indexLines(t))
	over := sumOf(counts) - j.corpus.words
	t.Logf("%d words in the text, %d counted too often of at most %d", j.corpus.words, over, sent+counted)
	if over > sent+counted {
		t.Errorf("%d words too many are counted, and at most %d were read again", over, sent+counted)
	}
}
