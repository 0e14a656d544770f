// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const (
	kills       = 10
	killCommit  = 200 * time.Millisecond
	finishBound = 10 * time.Minute
)

// A job is a word count that is killed and started again on the same data.
type job struct {
	t       *testing.T
	rng     *rand.Rand
	corpus  *corpus
	data    string
	brokers string // of a broker beside; "": it runs in the process
	runs    int
	kills   []kill
	stride  map[string]int64 // records of a topic taken at most between two samples
}

// A kill is what is known of one.
type kill struct {
	last      sample  // how far the process was, shortly before
	committed offsets // found afterwards
	ends      offsets // likewise, of the logs
}

func newJob(t *testing.T, brokers string) *job {
	t.Helper()
	return &job{
		t: t, rng: newRand(t), corpus: newCorpus(t, 7, corpusBytes()), data: t.TempDir(), brokers: brokers,
		stride: map[string]int64{},
	}
}

// run starts the program on the first files of the corpus.
func (j *job) run(files int, flags ...string) (*process, *track) {
	j.t.Helper()
	j.runs++
	tr := &track{path: filepath.Join(j.t.TempDir(), fmt.Sprintf("progress-%d.jsonl", j.runs))}
	args := append([]string{"--data", j.data, "--progress", tr.path, "--commit", killCommit.String()}, flags...)
	if j.brokers != "" {
		args = append(args, "--brokers", j.brokers)
	}
	return start(j.t, nil, wordcountBinary(j.t), append(args, j.corpus.files[:files]...)...), tr
}

// look shows the brokers while no process of the job runs.
func (j *job) look(f func(c *cluster)) {
	j.t.Helper()
	if j.brokers == "" {
		inspect(j.t, j.data, f)
		return
	}
	f(reach(j.t, j.brokers))
}

// TestKilledTenTimes kills -9 the program ten times at random moments, and a few
// times more at its very start. Each run has some more files to count than the one
// before, so that there is work to be killed in.
func TestKilledTenTimes(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	t.Run("with its broker", func(t *testing.T) {
		killedTenTimes(newJob(t, ""))
	})
	t.Run("beside a broker", func(t *testing.T) {
		_, addr := startBroker(t, t.TempDir(), "127.0.0.1:0")
		killedTenTimes(newJob(t, addr))
	})
}

func killedTenTimes(j *job) {
	t := j.t
	before := offsets{}
	for n := range kills {
		files := len(j.corpus.files) * (n + 4) / (kills + 3)
		before = j.killInWork(before, files)
		if n%3 == 2 {
			before = j.killAtStart(before, files)
		}
	}
	counts := j.finish()
	j.look(func(c *cluster) {
		j.check(c, counts)
	})
	t.Logf("%d runs", j.runs)
}

// killInWork lets a run commit some progress, kills it at a random moment after
// that and returns how far it came.
func (j *job) killInWork(before offsets, files int) offsets {
	t := j.t
	t.Helper()
	p, tr := j.run(files, "--follow")
	left := float64(j.corpus.work[files-1] - before.work())
	target := before.work() + int64(j.rng.Float64()*0.5*max(left, 0))
	until(t, "progress beyond that of the run before", patience, func() bool {
		return tr.last(t).committed().work() > target
	}, p)
	j.killAfter(p, time.Duration(j.rng.Int64N(int64(killCommit))))
	k := j.note(p, tr)
	if k.committed.work() <= before.work() {
		t.Errorf("kill %d: %d records are committed, and %d were before", len(j.kills), k.committed.work(), before.work())
	}
	j.reread(p, tr, k)
	return k.committed
}

// killAtStart kills a run in its first moments: in the recovery of logs, in a
// restore, in the join, in the first commit.
func (j *job) killAtStart(before offsets, files int) offsets {
	p, tr := j.run(files, "--follow")
	j.killAfter(p, time.Duration(j.rng.Int64N(int64(800*time.Millisecond))))
	return j.note(p, tr).committed
}

func (j *job) killAfter(p *process, d time.Duration) {
	j.t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.done:
		j.t.Fatalf("the program ended before it was killed: %v\n%s", p.err, p.output(j.t))
	}
	p.kill()
}

// note finds out what a kill has left.
func (j *job) note(p *process, tr *track) kill {
	t := j.t
	t.Helper()
	k := kill{last: tr.last(t)}
	j.strides(tr)
	j.look(func(c *cluster) {
		k.committed, k.ends = c.committed(t), c.ends(t, Lines.Name(), wordsTopic)
	})
	var before offsets
	if len(j.kills) > 0 {
		before = j.kills[len(j.kills)-1].committed
	}
	for p, at := range before {
		if k.committed[p] < at {
			t.Errorf("kill %d: the committed offset of %v went back from %d to %d", len(j.kills)+1, p, at, k.committed[p])
		}
	}
	j.kills = append(j.kills, k)
	t.Logf("kill %d: %s; committed %d lines and %d words, read %d and %d of %d and %d", len(j.kills), k.last.State,
		k.committed.of(Lines.Name()), k.committed.of(wordsTopic),
		k.last.positions().of(Lines.Name()), k.last.positions().of(wordsTopic), k.ends.of(Lines.Name()), k.ends.of(wordsTopic))
	return k
}

// reread checks that what a run had read and not committed is younger than two
// commit intervals: one commit may be open and one in flight. The machine's own
// delays come on top, which the gaps between samples tell.
func (j *job) reread(p *process, tr *track, k kill) {
	t := j.t
	t.Helper()
	bound := 2*killCommit + time.Second + 3*tr.gap()
	oldest := time.Duration(0)
	for in := range k.last.inputs() {
		at := part{in.Topic, in.Partition}
		if since, ok := tr.since(at, k.committed[at]); ok {
			oldest = max(oldest, p.ended.Sub(since))
		}
	}
	t.Logf("kill %d: the oldest record that is read again was read %v before", len(j.kills), oldest.Round(time.Millisecond))
	if oldest > bound {
		t.Errorf("kill %d: records that were read %v before are read again, more than %v", len(j.kills), oldest, bound)
	}
}

// finish runs the program to its end.
func (j *job) finish() map[string]int64 {
	j.t.Helper()
	out := filepath.Join(j.t.TempDir(), "counts")
	p, tr := j.run(len(j.corpus.files), "--out", out)
	p.finish(j.t, finishBound)
	j.strides(tr)
	return readCounts(j.t, out)
}

// check compares the end with the truth: nothing is lost, and what is counted
// twice is no more than what was read again.
func (j *job) check(c *cluster, counts map[string]int64) {
	t := j.t
	t.Helper()
	index := c.indexLines(t)
	if index.lines != j.corpus.lines {
		t.Errorf("the lines topic holds %d lines, want each of %d once", index.lines.n, j.corpus.lines.n)
	}
	for word, n := range j.corpus.counts {
		if counts[word] < n {
			t.Errorf("count of %q = %d, and there are %d", word, counts[word], n)
		}
	}
	for word := range counts {
		if j.corpus.counts[word] == 0 {
			t.Errorf("counted %q, which is no word of the text", word)
		}
	}
	// A line that is read again sends its words again; a word that is read again is
	// counted again.
	sent, counted := c.ends(t, wordsTopic).of(wordsTopic), sumOf(counts)
	againSent, againCounted := j.readAgain(index)
	t.Logf("%d words in the text; %d sent, %d too many of at most %d; %d counted, %d too many of at most %d",
		j.corpus.words, sent, sent-j.corpus.words, againSent, counted, counted-sent, againCounted)
	if over := sent - j.corpus.words; over < 0 || over > againSent {
		t.Errorf("%d words too many were sent, and at most %d were in lines that were read again", over, againSent)
	}
	if over := counted - sent; over < 0 || over > againCounted {
		t.Errorf("%d words too many were counted, and at most %d were read again", over, againCounted)
	}
	folded := c.fold(t)
	meta, err := c.admin.BrokerMetadata(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	sameStores(t, storesIn(t, j.data, meta.Cluster), folded)
	if got := countsIn(t, folded); !maps.Equal(got, counts) {
		t.Errorf("the changelog folds to %d words, sum %d; the output to %d, sum %d", len(got), sumOf(got), len(counts), counted)
	}
}

// strides takes the strides of a run that has ended into account.
func (j *job) strides(tr *track) {
	tr.last(j.t)
	for _, topic := range []string{Lines.Name(), wordsTopic} {
		j.stride[topic] = max(j.stride[topic], tr.stride(topic))
	}
}

// readAgain sums over all kills what was read beyond the committed offsets: the
// words in such lines, and such words. A process goes on after its last sample, for
// less than twice what it ever did between two, and never beyond the end.
func (j *job) readAgain(index linesIndex) (sent, counted int64) {
	for _, k := range j.kills {
		read := k.last.positions()
		var lines, words, linesLeft, wordsLeft int64
		for p, end := range k.ends {
			from := max(k.committed[p], 0)
			if p.topic == Lines.Name() {
				lines += index.words(p.num, from, read[p])
				linesLeft += index.words(p.num, from, end)
			} else {
				words += max(read[p]-from, 0)
				wordsLeft += end - from
			}
		}
		sent += min(lines+2*j.stride[Lines.Name()]*maxWords, linesLeft)
		counted += min(words+2*j.stride[wordsTopic], wordsLeft)
	}
	return sent, counted
}

// TestBrokerKilledTenTimes kills -9 the broker beside a program that goes on: it
// sends again what was not acknowledged, which the broker knows, and stays in its
// group. So nothing is read again, and the counts are right.
func TestBrokerKilledTenTimes(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	data := t.TempDir()
	b, addr := startBroker(t, data, "127.0.0.1:0")
	j := newJob(t, addr)
	p, tr := j.run(len(j.corpus.files), "--follow")
	total := j.corpus.work[len(j.corpus.work)-1]
	before := int64(0)
	for n := range kills {
		target := before + int64(j.rng.Float64()*0.5*float64(total-before)/float64(kills-n))
		until(t, "progress beyond that before the last kill", patience, func() bool {
			now := tr.last(t).committed().work()
			return now > target || now >= total // a fast machine is done before the last kills
		}, p)
		b.kill()
		last := tr.last(t)
		b, _ = startBroker(t, data, addr)
		j.kills = append(j.kills, kill{last: last, committed: last.committed(), ends: reach(t, addr).ends(t, Lines.Name(), wordsTopic)})
		before = last.committed().work()
		t.Logf("kill %d: %s, %d of about %d records committed", n+1, last.State, before, total)
	}
	until(t, "all is counted", patience, func() bool {
		c := tr.last(t).committed()
		return c.of(Lines.Name()) == j.corpus.lines.n && c.of(wordsTopic) >= j.corpus.words && tr.last(t).lag() == 0
	}, p)
	p.signal(t, os.Interrupt)
	p.finish(t, patience)
	j.strides(tr)
	counts := j.finish()
	sameCounts(t, "output", counts, j.corpus.counts)
	j.check(reach(t, addr), counts)
}
