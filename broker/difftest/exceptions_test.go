// SPDX-License-Identifier: Apache-2.0

package difftest

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// maxExceptions is how many lines the file may have.
const maxExceptions = 30

// A difference is one field of one answer that the nodes do not agree on. The
// values of a field that one of them does not have are "absent".
type difference struct {
	api         string
	version     int16
	at          string // "case/step"
	path        string
	kafka, ours string
}

func (d *difference) String() string {
	return fmt.Sprintf("%s v%d, %s: %s: Kafka %s, ours %s", d.api, d.version, d.at, d.path, d.kafka, d.ours)
}

// An exception is a line of the file: fields between bars, of which all but the
// versions and the reason are patterns in which a star stands for any text.
//
//	api | versions | case/step | path | Kafka's value | ours | reason
type exception struct {
	line     int
	patterns [5]string // api, at, path, kafka, ours
	min, max int16
	used     atomic.Int64
}

func (e *exception) matches(d *difference) bool {
	if d.version < e.min || d.version > e.max {
		return false
	}
	for i, v := range []string{d.api, d.at, d.path, d.kafka, d.ours} {
		if !like(e.patterns[i], v) {
			return false
		}
	}
	return true
}

// like tells whether text is what pattern says, in which a star is any text.
func like(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	rest, ok := strings.CutPrefix(text, parts[0])
	for _, p := range parts[1 : len(parts)-1] {
		if i := strings.Index(rest, p); ok && i >= 0 {
			rest = rest[i+len(p):]
		} else {
			return false
		}
	}
	return ok && strings.HasSuffix(rest, parts[len(parts)-1])
}

func readExceptions(t *testing.T, name string) []*exception {
	t.Helper()
	text, err := os.ReadFile(path.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var all []*exception
	for i, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		e, err := parseException(line)
		if err != nil {
			t.Fatalf("%s, line %d: %v", name, i+1, err)
		}
		e.line = i + 1
		all = append(all, e)
	}
	if len(all) > maxExceptions {
		t.Errorf("%s has %d exceptions, %d are allowed", name, len(all), maxExceptions)
	}
	return all
}

func parseException(line string) (*exception, error) {
	f := strings.Split(line, "|")
	if len(f) != 7 {
		return nil, fmt.Errorf("%d fields, want 7: api | versions | case/step | path | Kafka | ours | reason", len(f))
	}
	for i := range f {
		f[i] = strings.TrimSpace(f[i])
	}
	if f[6] == "" {
		return nil, fmt.Errorf("no reason is given")
	}
	e := &exception{patterns: [5]string{f[0], f[2], f[3], f[4], f[5]}}
	low, high, ok := strings.Cut(f[1], "-")
	if !ok {
		high = low
	}
	for v, text := range map[*int16]string{&e.min: low, &e.max: high} {
		n, err := strconv.ParseInt(text, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("versions %q: want 3 or 0-5", f[1])
		}
		*v = int16(n)
	}
	return e, nil
}

func TestExceptionPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"a", "a", true},
		{"a", "ab", false},
		{"*", "", true},
		{"a*c", "abc", true},
		{"a*c", "abcd", false},
		{"a*a", "a", false},
		{"*b*", "abc", true},
		{"Configs[*].Value", "Configs[x.y].Value", true},
		{"Configs[*].Value", "Configs[x.y].Type", false},
	} {
		if got := like(c.pattern, c.text); got != c.want {
			t.Errorf("like(%q, %q) = %v, want %v", c.pattern, c.text, got, c.want)
		}
	}
	for _, line := range []string{"a|1|b|c|d|e", "a|1|b|c|d|e|", "a|x|b|c|d|e|f", "a|1-|b|c|d|e|f"} {
		if _, err := parseException(line); err == nil {
			t.Errorf("the line %q was taken", line)
		}
	}
}
