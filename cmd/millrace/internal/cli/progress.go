// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"os"
	"time"
)

// A Progress is one line on a terminal that tells how far a long command is. It
// is for one goroutine.
type Progress struct {
	w     io.Writer // nil: nobody looks
	next  time.Time
	shown bool
}

const progressEvery = 250 * time.Millisecond

// NewProgress returns a line on w; if that is no terminal, none.
func NewProgress(w io.Writer) *Progress {
	p := &Progress{next: time.Now().Add(progressEvery)}
	if IsTerminal(w) {
		p.w = w
	}
	return p
}

// IsTerminal tells whether a person looks at what is written to, or writes what
// is read from, v.
func IsTerminal(v any) bool {
	f, ok := v.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Show writes the line, a few times a second at most.
func (p *Progress) Show(format string, args ...any) {
	if p.w == nil {
		return
	}
	if now := time.Now(); now.After(p.next) {
		fmt.Fprintf(p.w, "\r\x1b[K"+format, args...)
		p.next, p.shown = now.Add(progressEvery), true
	}
}

// Clear removes the line.
func (p *Progress) Clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
