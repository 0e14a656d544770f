// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestWordsAreRunsOfASCIILetters(t *testing.T) {
	naive := regexp.MustCompile(`[A-Za-z]+`)
	rng := rand.New(rand.NewPCG(1, 2))
	const alphabet = "abzAZ @[`{09\t-\xc3\xa9\x00"
	for range 2000 {
		b := make([]byte, rng.IntN(30))
		for i := range b {
			b[i] = alphabet[rng.IntN(len(alphabet))]
		}
		line := string(b)
		want := naive.FindAllString(line, -1)
		for i := range want {
			want[i] = strings.ToLower(want[i])
		}
		if got := slices.Collect(words(line)); !slices.Equal(got, want) {
			t.Fatalf("words(%q) = %q, want %q", line, got, want)
		}
	}
}

func TestEachLineGivesEveryByteOnce(t *testing.T) {
	long := strings.Repeat("abc de ", maxLine/3)
	for name, text := range map[string]string{
		"empty":            "",
		"no end":           "a b\nc",
		"ends":             "a\r\n\nb\n",
		"longer than fits": "x\n" + long + "\ny\n",
		"one huge word":    strings.Repeat("w", 2*maxLine+5),
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			last := int64(0)
			err := eachLine(strings.NewReader(text), func(line []byte, end int64) error {
				if end <= last {
					t.Fatalf("end %d after %d", end, last)
				}
				if text[last:last+int64(len(line))] != string(line) {
					t.Fatalf("the line that ends at %d is not the text before it", end)
				}
				last = end
				got = slices.AppendSeq(got, words(string(line)))
				return nil
			})
			if err != nil || last != int64(len(text)) {
				t.Fatalf("eachLine read %d of %d bytes: %v", last, len(text), err)
			}
			if name != "one huge word" && !slices.Equal(got, slices.Collect(words(text))) {
				t.Fatal("a word was cut")
			}
		})
	}
}

func TestListsSkipWhatWasFed(t *testing.T) {
	list := func() fileList { return fileList{files: []file{{"a", 10}, {"b", 20}, {"c", 30}}} }
	for name, c := range map[string]struct {
		at    place
		files int
		bytes int64
	}{
		"nothing fed":         {place{file: -1}, 3, 60},
		"in the first":        {place{0, 4}, 3, 56},
		"at the end of one":   {place{0, 10}, 3, 50},
		"in the second":       {place{1, 5}, 2, 45},
		"all":                 {place{2, 30}, 1, 0},
		"beyond what is here": {place{9, 1}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := list()
			l.skip(c.at)
			if len(l.files) != c.files || l.bytes() != c.bytes {
				t.Fatalf("%d files, %d bytes left; want %d, %d", len(l.files), l.bytes(), c.files, c.bytes)
			}
			if len(l.files) > 0 && c.at.file >= 0 && l.first != c.at.file {
				t.Fatalf("the list goes on at file %d, want %d", l.first, c.at.file)
			}
		})
	}
}
