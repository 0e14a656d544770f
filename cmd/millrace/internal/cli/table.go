// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Table is rows of cells under a heading. Columns are as wide as they need to
// be, two spaces apart.
type Table struct {
	head  []string
	right []bool
	rows  [][]string
}

// NewTable returns a table. A heading that begins with "#" is one of numbers,
// which are set to the right.
func NewTable(head ...string) *Table {
	t := &Table{right: make([]bool, len(head))}
	for i, h := range head {
		name, number := strings.CutPrefix(h, "#")
		t.head, t.right[i] = append(t.head, name), number
	}
	return t
}

// Row adds a row of as many cells as there are columns. An empty one shows as
// "-". Control characters, which the cluster's other users may have put into
// names, are shown escaped.
func (t *Table) Row(cells ...any) {
	row := make([]string, len(t.head))
	for i, c := range cells {
		if row[i] = Clean(fmt.Sprint(c)); row[i] == "" {
			row[i] = "-"
		}
	}
	t.rows = append(t.rows, row)
}

// Clean is s with what is not to be printed escaped as in Go.
func Clean(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) < 0 {
		return s
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

// Write writes the table to w.
func (t *Table) Write(w io.Writer) error {
	width := make([]int, len(t.head))
	all := append([][]string{t.head}, t.rows...)
	for _, row := range all {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for _, row := range all {
		var line strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if t.right[i] {
				c, pad = pad+c, ""
			}
			line.WriteString(c + pad + "  ")
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Print writes v as JSON if that is asked for, else what text writes.
func (f *Flags) Print(w io.Writer, v any, text func(w io.Writer) error) error {
	if !f.JSON {
		return text(w)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// Bytes is n in a unit that a reader grasps: "1.5 MiB".
func Bytes(n float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for ; n >= 1024 && i < len(units)-1; i++ {
		n /= 1024
	}
	if i == 0 {
		return fmt.Sprintf("%.0f B", n)
	}
	return fmt.Sprintf("%.1f %s", n, units[i])
}
