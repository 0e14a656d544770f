// SPDX-License-Identifier: Apache-2.0

package main

import (
	"iter"

	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/topic"
	"github.com/millrace/millrace/window"
)

// The topics of the example.
var (
	Lines  = topic.Unkeyed[string]("wordcount-lines")
	Counts = topic.Of[string, int64]("wordcount-counts")
)

// wordCount is the whole of the streaming job.
func wordCount() *processor.Topology {
	t := processor.NewTopology("wordcount")
	kstream.From(t, Lines).
		FlatMapSeq(words).
		GroupBy("by-word", func(_ topic.NoKey, word string) string { return word }).
		Count("counts", ktable.Emit(window.OnCommit)).
		To(Counts)
	return t
}

// words yields the words of a line: runs of ASCII letters, in lower case. It is
// tr -cs A-Za-z '\n' | tr A-Z a-z, so that the counts can be checked.
func words(line string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for start := 0; start < len(line); {
			if !letter(line[start]) {
				start++
				continue
			}
			end := start + 1
			for end < len(line) && letter(line[end]) {
				end++
			}
			if !yield(lower(line[start:end])) {
				return
			}
			start = end
		}
	}
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// lower copies only words that have an upper-case letter.
func lower(word string) string {
	for i := range len(word) {
		if word[i] < 'a' {
			b := []byte(word)
			for j := i; j < len(b); j++ {
				b[j] |= 0x20
			}
			return string(b)
		}
	}
	return word
}
