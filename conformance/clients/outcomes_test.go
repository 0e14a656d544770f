// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

const recordedFile = "testdata/outcomes.jsonl"

// steps holds what a program got, in canonical JSON, by "scenario: step".
type steps map[string]string

// outcomes collects what one program got of one broker. Its methods are for
// one goroutine at a time.
type outcomes struct {
	steps  steps
	errors []string
	logf   func(format string, args ...any)
}

// got notes what a step of a scenario got, anything that JSON can hold.
func (o *outcomes) got(scenario, step string, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		text = fmt.Appendf(nil, "%q", err.Error())
	}
	o.add(scenario, step, text)
}

func (o *outcomes) add(scenario, step string, raw []byte) {
	name := scenario + ": " + step
	if _, twice := o.steps[name]; twice {
		o.errors = append(o.errors, name+": the step was taken twice")
	}
	text, err := canonical(raw)
	if err != nil {
		o.errors = append(o.errors, fmt.Sprintf("%s: %v: %s", name, err, raw))
	}
	o.steps[name] = text
}

// failed notes that a scenario did not come to its end.
func (o *outcomes) failed(scenario string, why any) {
	o.errors = append(o.errors, fmt.Sprintf("%s: %v", scenario, why))
}

// check fails the test if a scenario did not come to its end.
func (o *outcomes) check(t *testing.T) {
	t.Helper()
	for _, e := range o.errors {
		t.Error(e)
	}
}

// scenario runs one and notes its failure.
func (o *outcomes) scenario(name string, run func(name string) error) {
	begin := time.Now()
	if err := run(name); err != nil {
		o.failed(name, err)
	}
	o.logf("%s took %v", name, time.Since(begin).Round(10*time.Millisecond))
}

// line is one outcome as an external program prints it.
type line struct {
	Scenario string          `json:"scenario"`
	Step     string          `json:"step"`
	Got      json.RawMessage `json:"got"`
	Failed   string          `json:"failed"` // why the scenario did not come to its end
}

// read takes what an external program has printed: a line of JSON an outcome.
func (o *outcomes) read(printed []byte) {
	for text := range bytes.Lines(printed) {
		var l line
		switch err := json.Unmarshal(text, &l); {
		case err != nil:
			o.failed("output", fmt.Sprintf("%v: %s", err, text))
		case l.Failed != "":
			o.failed(l.Scenario, l.Failed)
		default:
			o.add(l.Scenario, l.Step, l.Got)
		}
	}
}

// canonical is raw with the keys of its objects in order, and no spaces.
func canonical(raw []byte) (string, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return "", fmt.Errorf("decode: %w", err)
	}
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", fmt.Errorf("encode: %w", err)
	}
	return strings.TrimSpace(out.String()), nil
}

// recordedLine is a line of recordedFile.
type recordedLine struct {
	Step     string          `json:"step"`
	Got      json.RawMessage `json:"got"`
	Programs []string        `json:"programs"`
}

// readRecorded returns what each program has got of Apache Kafka.
func readRecorded(t *testing.T) map[string]steps {
	t.Helper()
	all := make(map[string]steps)
	f, err := os.Open(recordedFile)
	if errors.Is(err, os.ErrNotExist) && *rewrite {
		return all
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l recordedLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatalf("%s: %v: %s", recordedFile, err, lines.Bytes())
		}
		for _, p := range l.Programs {
			if all[p] == nil {
				all[p] = steps{}
			}
			all[p][l.Step] = string(l.Got)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// writeRecorded writes all anew, in order of steps, and of programs within one.
func writeRecorded(t *testing.T, all map[string]steps) {
	t.Helper()
	var lines []recordedLine
	for _, p := range slices.Sorted(maps.Keys(all)) {
		for step, got := range all[p] {
			same := func(l recordedLine) bool { return l.Step == step && string(l.Got) == got }
			if i := slices.IndexFunc(lines, same); i >= 0 {
				lines[i].Programs = append(lines[i].Programs, p)
			} else {
				lines = append(lines, recordedLine{step, json.RawMessage(got), []string{p}})
			}
		}
	}
	slices.SortFunc(lines, func(a, b recordedLine) int {
		return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(a.Programs[0], b.Programs[0]))
	})
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(recordedFile, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
