// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/millrace/millrace/processor"
)

// A view is what the screen shows at one moment.
type view struct {
	elapsed             time.Duration
	lines, bytes, total int64 // fed: acknowledged, and bytes to feed in all
	processed, lag      int64 // records: taken by the tasks, and waiting for them
	words               int64
	distinct            int
	top                 []count
	state               processor.State
}

// A screen draws views one over the other on a terminal; elsewhere it prints a
// line every few seconds.
type screen struct {
	out      io.Writer
	terminal bool
	drawn    int // lines of the last view
	last     view
	printed  time.Duration
}

func newScreen(out io.Writer) *screen {
	s := &screen{out: out}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		s.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	}
	return s
}

// show draws v.
func (s *screen) show(v view) {
	rates := fmt.Sprintf("%s lines/s, %s records/s", number(rate(v.lines-s.last.lines, v, s.last)), number(rate(v.processed-s.last.processed, v, s.last)))
	if !s.terminal {
		if v.elapsed-s.printed >= 2*time.Second || s.printed == 0 {
			s.printed = v.elapsed
			fmt.Fprintf(s.out, "%5.1fs  %s  fed %s of %s  %s  lag %s  words %s, %s different\n", v.elapsed.Seconds(), v.state,
				size(v.bytes), size(v.total), rates, number(v.lag), number(v.words), number(int64(v.distinct)))
		}
		s.last = v
		return
	}
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", s.drawn)
	}
	start := b.Len()
	fmt.Fprintf(&b, "wordcount  %.1fs  %s\n", v.elapsed.Seconds(), v.state)
	fmt.Fprintf(&b, "  fed      %s  %s of %s, %s lines\n", bar(v.bytes, v.total), size(v.bytes), size(v.total), number(v.lines))
	fmt.Fprintf(&b, "  rates    %s\n", rates)
	fmt.Fprintf(&b, "  lag      %s records\n", number(v.lag))
	fmt.Fprintf(&b, "  counted  %s words, %s different\n\n", number(v.words), number(int64(v.distinct)))
	for _, c := range v.top {
		fmt.Fprintf(&b, "  %12s  %s\n", number(c.n), c.word)
	}
	s.drawn = strings.Count(b.String()[start:], "\n")
	fmt.Fprint(s.out, b.String())
	s.last = v
}

// leave prints the last top words where no table was drawn.
func (s *screen) leave() {
	if s.terminal {
		return
	}
	fmt.Fprintln(s.out)
	for _, c := range s.last.top {
		fmt.Fprintf(s.out, "  %12s  %s\n", number(c.n), c.word)
	}
}

func rate(n int64, now, before view) int64 {
	d := (now.elapsed - before.elapsed).Seconds()
	if d <= 0 {
		return 0
	}
	return max(int64(float64(n)/d), 0)
}

func bar(n, total int64) string {
	const width = 24
	full := 0
	if total > 0 {
		full = int(min(n*width/total, width))
	}
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]"
}

func size(n int64) string {
	switch {
	case n < 1e6:
		return fmt.Sprintf("%.1f KB", float64(n)/1e3)
	default:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
}

// number writes n with commas.
func number(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
