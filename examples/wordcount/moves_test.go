// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
)

// TestTasksThatStayGoOn has instances join, leave and die in the middle of the work, the
// last one without coming back: its tasks move when its session ends. Tasks that do not
// move are never stopped. The counts are right, but for what the killed one had read and
// not committed.
//
// That they are not even held up shows in a rebalance that cannot end: one of the members
// is stopped (SIGSTOP) while another one joins, and is woken once each task of the third
// has gone on. In the other moves the longest time without progress is measured, and told
// beside that of quiet times.
func TestTasksThatStayGoOn(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs processes")
	}
	for name, open := range brokers {
		t.Run(name, func(t *testing.T) { tasksThatStay(t, open(t)) })
	}
}

func tasksThatStay(t *testing.T, addr string) {
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
	feed.little = 4 // so that it lasts, on a slow machine too
	second := newInstance(t, nil, addr, "--session", patience.String())
	m := &moves{t: t, c: c, feed: feed, first: first}
	m.shared(first, second)
	m.quiet()

	m.event("a join that cannot end", func() {
		second.p.signal(t, syscall.SIGSTOP)
		m.third = newInstance(t, nil, addr, "--session", "6s")
		m.heldOpen()
		second.p.signal(t, syscall.SIGCONT)
		m.shared(first, second, m.third)
	})
	m.event("a graceful leave", func() {
		second.p.signal(t, os.Interrupt)
		feed.until("the second instance has left", func() bool { return isDone(second.p.done) }, first.p, m.third.p)
		second.p.finish(t, patience)
		m.shared(first, m.third)
	})
	m.event("a join", func() {
		second = newInstance(t, nil, addr)
		m.shared(first, second, m.third)
	})
	j := &job{t: t, corpus: text, brokers: addr, stride: map[string]int64{}}
	m.event("a kill, until the session has ended", func() {
		m.third.p.kill()
		m.note(j, m.third)
		m.shared(first, second)
	})

	feed.upTo(1)
	w.Close()
	first.p.finish(t, finishBound)
	second.p.signal(t, os.Interrupt)
	second.p.finish(t, patience)
	atMost(t, j, c, readCounts(t, out))
}

// moves watches the first instance while others come and go.
type moves struct {
	t            *testing.T
	c            *cluster
	feed         *pacer
	first, third *instance
	steady       time.Duration // the longest time without progress while nothing moved
}

// shared waits until the given instances run all tasks, a fair share each, and each has
// committed more.
func (m *moves) shared(all ...*instance) {
	m.t.Helper()
	var alive []*process
	for _, i := range all {
		alive = append(alive, i.p)
	}
	m.feed.until("the work is shared", func() bool {
		sum, least := 0, 16
		for _, i := range all {
			n := i.runs()
			sum, least = sum+n, min(least, n)
		}
		return sum == 16 && least == 16/len(all)
	}, alive...)
	var marks []mark
	for _, i := range all {
		marks = append(marks, i.mark())
	}
	m.feed.until("all instances commit", func() bool {
		for _, mark := range marks {
			if !mark.beyond() {
				return false
			}
		}
		return true
	}, alive...)
}

// quiet measures how long tasks go without progress while nothing moves.
func (m *moves) quiet() {
	m.t.Helper()
	from := m.first.mark().at
	m.feed.until("some quiet time", func() bool { return m.first.mark().at > from+40 }, m.first.p)
	m.steady, _ = longest(m.first.tr.samples[from:])
	m.t.Logf("while nothing moves: %v without progress at most, samples %v apart", m.steady, m.first.tr.gap())
}

// event runs a move and looks at what the first instance did meanwhile: tasks that it has
// before and after were not stopped.
func (m *moves) event(what string, do func()) {
	m.t.Helper()
	from := m.first.mark().at
	do()
	m.first.tr.last(m.t)
	samples := m.first.tr.samples[from:]
	gap, stayed := longest(samples)
	took := time.Duration(samples[len(samples)-1].Time-samples[0].Time) * time.Millisecond
	m.t.Logf("%s: %d tasks stayed for %v, %v without progress at most: %.1f times that of quiet times",
		what, len(stayed), took, gap, float64(gap)/float64(max(m.steady, progressEvery)))
	if len(stayed) == 0 {
		m.t.Errorf("%s: no task has stayed", what)
	}
	for _, s := range samples {
		if diff := cmp.Diff(stayed, overlap(stayed, running(s))); diff != "" {
			m.t.Errorf("%s: tasks that stay were stopped meanwhile (-stay +run):\n%s", what, diff)
			return
		}
	}
}

// heldOpen waits until the group waits for a member that is stopped, and then, while it
// still does, until each task of the first instance has made progress.
func (m *moves) heldOpen() {
	m.t.Helper()
	m.feed.until("the group waits for its members", m.waiting, m.first.p)
	from := m.first.mark().at
	at := m.first.tr.samples[from].Time
	m.feed.until("each task of the first instance has gone on", func() bool {
		return len(m.first.tr.goneOn(m.t, from)) == m.first.runs()
	}, m.first.p)
	if !m.waiting() {
		m.t.Error("the tasks of the first instance went on only when the rebalance was over")
	}
	m.t.Logf("while the group waits for a member all tasks of another go on, within %v",
		time.Duration(m.first.tr.last(m.t).Time-at)*time.Millisecond)
}

// waiting tells whether the group is in a rebalance that not all have joined.
func (m *moves) waiting() bool { return m.described().State == "PreparingRebalance" }

func (m *moves) described() kadm.DescribedGroup {
	m.t.Helper()
	groups, err := m.c.admin.DescribeGroups(bounded(m.t), group)
	if err != nil {
		m.t.Fatal(err)
	}
	return groups[group]
}

// note finds out what the kill has left. Where its session has ended already, others may
// have committed more: what the killed one had seen committed counts.
func (m *moves) note(j *job, killed *instance) {
	m.t.Helper()
	k := j.note(killed.p, killed.tr)
	if len(m.described().Members) < 3 {
		for in := range k.last.inputs() {
			k.committed[part{in.Topic, in.Partition}] = in.Committed
		}
	}
}

// goneOn lists the tasks that have processed more than in an earlier sample.
func (tr *track) goneOn(t *testing.T, since int) []string {
	t.Helper()
	then, now := records(tr.samples[since]), records(tr.last(t))
	var ids []string
	for id, n := range now {
		if before, ok := then[id]; ok && n > before {
			ids = append(ids, id)
		}
	}
	return ids
}

// longest is the longest time that a task made no progress which ran in the first sample
// and in the last one, and those tasks.
func longest(samples []sample) (gap time.Duration, stayed []string) {
	stayed = overlap(running(samples[0]), running(samples[len(samples)-1]))
	for _, id := range stayed {
		since, before := samples[0].Time, records(samples[0])[id]
		for _, s := range samples[1:] {
			gap = max(gap, time.Duration(s.Time-since)*time.Millisecond)
			if n := records(s)[id]; n != before {
				since, before = s.Time, n
			}
		}
	}
	return gap, stayed
}

// records are those that the running tasks have processed.
func records(s sample) map[string]int64 {
	by := map[string]int64{}
	for _, task := range s.Tasks {
		if task.Running {
			by[task.ID] = task.Records
		}
	}
	return by
}

// overlap keeps those of the ids that are among others too.
func overlap(ids, others []string) []string {
	among := map[string]bool{}
	for _, id := range others {
		among[id] = true
	}
	var both []string
	for _, id := range ids {
		if among[id] {
			both = append(both, id)
		}
	}
	return both
}
