// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A corpus is a folder of text files and what must come out of them.
type corpus struct {
	dir    string
	files  []string
	work   []int64 // by file: its lines and words, and those of the files before it
	lines  bag
	counts map[string]int64 // by the tools of the system
	words  int64            // their sum
}

// A bag is a multiset of lines: how many, and a sum that does not depend on
// their order.
type bag struct {
	n   int64
	sum uint64
}

var bagSeed = maphash.MakeSeed()

func (b *bag) add(line []byte) {
	b.n++
	b.sum += maphash.Bytes(bagSeed, line)
}

const (
	linesPerFile = 10_000
	maxWords     = 17 // in a line
)

// corpora are those made so far.
var corpora struct {
	sync.Mutex
	made map[[2]uint64]*corpus // by seed and size
}

// newCorpus writes about as many bytes of text as asked for, always the same for
// the same seed: words by Zipf's law, with capitals, digits, punctuation, bytes
// that are no ASCII and empty lines between them. Every file ends in a newline.
// Tests share it and only read it.
func newCorpus(t *testing.T, seed uint64, bytes int64) *corpus {
	t.Helper()
	needTools(t, "sh", "tr", "sort", "uniq", "cat")
	corpora.Lock()
	defer corpora.Unlock()
	id := [2]uint64{seed, uint64(bytes)}
	if c := corpora.made[id]; c != nil {
		return c
	}
	c := &corpus{dir: filepath.Join(scratch, fmt.Sprintf("corpus-%d-%d", seed, bytes))}
	if err := os.Mkdir(c.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	g := newText(seed)
	for written := int64(0); written < bytes; {
		c.files = append(c.files, filepath.Join(c.dir, fmt.Sprintf("%05d.txt", len(c.files))))
		written += c.write(t, c.files[len(c.files)-1], g, bytes-written)
	}
	c.count(t)
	if corpora.made == nil {
		corpora.made = map[[2]uint64]*corpus{}
	}
	corpora.made[id] = c
	return c
}

func (c *corpus) write(t *testing.T, path string, g *text, most int64) int64 {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	written := int64(0)
	work := int64(0)
	if len(c.work) > 0 {
		work = c.work[len(c.work)-1]
	}
	for n := 0; n < linesPerFile && written < most; n++ {
		line := g.line()
		c.lines.add(line)
		work++
		for range words(string(line)) {
			work++
		}
		written += int64(len(line)) + 1
		_, _ = w.Write(append(line, '\n')) // Flush tells
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	c.work = append(c.work, work)
	return written
}

// count has the system's tools count, which share nothing with ours.
func (c *corpus) count(t *testing.T) {
	t.Helper()
	out := shell(t, c.dir, `LC_ALL=C; export LC_ALL; cat *.txt | tr -cs A-Za-z '\n' | tr A-Z a-z | sort | uniq -c`)
	c.counts = map[string]int64{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) != 2 {
			continue // the empty word before a leading separator
		}
		c.counts[fields[1]] = number64(t, fields[0])
		c.words += c.counts[fields[1]]
	}
}

func number64(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// plus is what must come out of two corpora together.
func plus(a, b map[string]int64) map[string]int64 {
	sum := maps.Clone(a)
	for word, n := range b {
		sum[word] += n
	}
	return sum
}

// text makes lines.
type text struct {
	rng   *rand.Rand
	zipf  *rand.Zipf
	words []string
	buf   []byte
}

func newText(seed uint64) *text {
	rng := rand.New(rand.NewPCG(seed, 1))
	g := &text{rng: rng, words: make([]string, 60_000)}
	for i := range g.words {
		b := make([]byte, 1+rng.IntN(3)+rng.IntN(8))
		for j := range b {
			b[j] = byte('a' + rng.IntN(26))
		}
		g.words[i] = string(b)
	}
	g.zipf = rand.NewZipf(rng, 1.1, 2, uint64(len(g.words)-1))
	return g
}

// line makes a line without its end, valid until the next call.
func (g *text) line() []byte {
	g.buf = g.buf[:0]
	for range g.rng.IntN(maxWords + 1) {
		word := g.words[g.zipf.Uint64()]
		switch g.rng.IntN(20) {
		case 0:
			word = strings.ToUpper(word)
		case 1:
			word = strings.ToUpper(word[:1]) + word[1:]
		}
		g.buf = append(g.buf, word...)
		g.buf = append(g.buf, separators[g.rng.IntN(len(separators))]...)
	}
	return g.buf
}

var separators = append(slices.Repeat([]string{" "}, 12), ", ", "-", "0", "\t", "'", "\xc3\xa9", "; ", "_")

// readCounts reads a file that -out wrote.
func readCounts(t *testing.T, path string) map[string]int64 {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		n, word, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok || counts[word] != 0 {
			t.Fatalf("%s: line %q", path, line)
		}
		counts[word] = number64(t, n)
	}
	return counts
}

// sameCounts fails the test if counts are not exactly those wanted.
func sameCounts(t *testing.T, what string, got, want map[string]int64) {
	t.Helper()
	wrong := 0
	for _, word := range slices.Sorted(maps.Keys(plus(got, want))) {
		if got[word] != want[word] {
			if wrong++; wrong <= 10 {
				t.Errorf("%s: count of %q = %d, want %d", what, word, got[word], want[word])
			}
		}
	}
	if wrong > 0 {
		t.Fatalf("%s: %d of %d words are wrong; sum %d, want %d", what, wrong, len(want), sumOf(got), sumOf(want))
	}
}

func sumOf(counts map[string]int64) int64 {
	sum := int64(0)
	for _, n := range counts {
		sum += n
	}
	return sum
}
