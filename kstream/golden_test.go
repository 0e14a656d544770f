// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	stdcmp "cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/processor/testdriver"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/window"
)

// A vector is what Kafka Streams 4.3.1 answered to a script, as
// TopologyTestDriver recorded it: every update is sent on, in one partition.
type vector struct {
	TopologyID string `json:"topology_id"`
	Params     map[string]any
	Topics     map[string]struct {
		Dir, Key, Value string
		PipedAs         string `json:"piped_as"`
	}
	Steps []struct {
		Pipe *struct {
			Topic   string
			Key     *string
			Value   any
			TS      int64
			Headers [][2]string
		}
		Clock *int64 `json:"advance_wall_clock_ms"`
	}
	Config  map[string]string
	Outputs []vectorOutput
	Stores  map[string][]vectorRow
	Error   *struct {
		AfterStep int `json:"after_step"`
	}
	Dropped int64 `json:"dropped_records_total"`
}

type vectorOutput struct {
	Topic     string
	Key       any
	Value     any
	TS        int64
	AfterStep int `json:"after_step"`
	Headers   [][2]string
	Window    *vectorWindow
}

type vectorWindow struct{ Start, End int64 }

type vectorRow struct {
	Key        any
	Start, End int64
	Value      any
	TS         int64
}

// TestGoldenStreams holds the DSL against vectors recorded from Kafka Streams, on each
// backend of stores.
// GOLDEN_DIR names a folder with a folder "streams" of further ones.
func TestGoldenStreams(t *testing.T) {
	dir := filepath.Join("testdata", "golden")
	if d := os.Getenv("GOLDEN_DIR"); d != "" {
		dir = filepath.Join(d, "streams")
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no vectors in %s: %v", dir, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".json"), func(t *testing.T) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var v vector
			if err := json.Unmarshal(b, &v); err != nil {
				t.Fatal(err)
			}
			build := goldenTopologies[v.TopologyID]
			if build == nil {
				t.Skipf("topology %q needs operators that do not exist yet", v.TopologyID)
			}
			for name, at := range backends() {
				t.Run(name, func(t *testing.T) { v.run(t, build(v.numbers()), at(t.TempDir())) })
			}
		})
	}
}

func (v *vector) run(t *testing.T, top goldenTopology, stores state.Backend) {
	cfg := v.config()
	cfg.Stores = stores
	t.Cleanup(func() {
		if err := stores.Close(); err != nil {
			t.Errorf("close the stores: %v", err)
		}
	})
	d := testdriver.New(t, top.t, cfg)
	got := []vectorOutput{}
	for i := range v.Steps {
		err := v.step(t, d, i)
		if v.Error != nil && v.Error.AfterStep == i {
			if err == nil {
				t.Errorf("step %d did not fail", i)
			}
			break
		}
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		for name := range v.Topics {
			for r, ok := d.ReadBytes(name); v.Topics[name].Dir == "output" && ok; r, ok = d.ReadBytes(name) {
				out := vectorOutput{Topic: name, Value: v.value(t, name, r.Value), TS: r.Timestamp, AfterStep: i}
				if r.Key != nil {
					out.Key, out.Window = v.key(t, name, r.Key)
				}
				for _, h := range r.Headers {
					out.Headers = append(out.Headers, [2]string{h.Key, string(h.Value)})
				}
				got = append(got, out)
			}
		}
	}
	// Order counts within a topic, not between topics.
	if strings.HasPrefix(v.TopologyID, "final_") {
		// Nor does that of windows that one record closes: it is the store's own.
		sortSteps(v.Outputs)
		sortSteps(got)
	}
	if diff := cmp.Diff(byTopic(sameErrors(v.Outputs)), byTopic(sameErrors(got))); diff != "" {
		t.Errorf("outputs differ (-Kafka Streams +ours):\n%s", diff)
	}
	drops := d.Dropped()
	delete(drops, "null key before a repartition topic") // Kafka Streams drops these, too, but does not count them
	if v.TopologyID == "proc_global_store" {
		delete(drops, "null key") // the vector's own processor drops these, and counts nothing
	}
	var dropped int64
	for _, n := range drops {
		dropped += n
	}
	if v.Dropped != dropped {
		t.Errorf("%d records were dropped, Kafka Streams drops %d: %v", dropped, v.Dropped, drops)
	}
	for name, want := range v.Stores {
		if diff := cmp.Diff(want, top.stores[name](d)); diff != "" {
			t.Errorf("store %q differs (-Kafka Streams +ours):\n%s", name, diff)
		}
	}
}

// numbers are the parameters that are numbers; others name what a topology's id tells.
func (v *vector) numbers() params {
	p := params{}
	for name, value := range v.Params {
		if n, ok := value.(float64); ok {
			p[name] = int64(n)
		}
	}
	return p
}

// step pipes a record or lets time pass.
func (v *vector) step(t *testing.T, d *testdriver.Driver, i int) error {
	t.Helper()
	p := v.Steps[i].Pipe
	switch {
	case v.Steps[i].Clock != nil:
		d.AdvanceWallClock(time.Duration(*v.Steps[i].Clock) * time.Millisecond)
		return nil
	case p == nil:
		t.Fatalf("step %d is of an unknown kind", i)
	}
	r := processor.Record[[]byte, []byte]{Value: v.bytes(t, p.Topic, p.Value), Timestamp: p.TS}
	if p.Key != nil {
		r.Key = []byte(*p.Key)
	}
	for _, h := range p.Headers {
		r.Headers = append(r.Headers, processor.Header{Key: h[0], Value: []byte(h[1])})
	}
	return d.PipeBytes(p.Topic, r)
}

func sortSteps(outs []vectorOutput) {
	slices.SortFunc(outs, func(a, b vectorOutput) int {
		return stdcmp.Or(stdcmp.Compare(a.AfterStep, b.AfterStep), stdcmp.Compare(a.place(), b.place()))
	})
}

// place is the key and the window of a record, to sort by.
func (o vectorOutput) place() string {
	if o.Window == nil {
		return fmt.Sprint(o.Key)
	}
	return fmt.Sprintf("%v %020d %020d", o.Key, o.Window.Start, o.Window.End)
}

func byTopic(outs []vectorOutput) map[string][]vectorOutput {
	m := map[string][]vectorOutput{}
	for _, o := range outs {
		m[o.Topic] = append(m[o.Topic], o)
	}
	return m
}

// bytes encodes a value of a script as its topic has it.
func (v *vector) bytes(t *testing.T, topic string, value any) []byte {
	t.Helper()
	switch value := value.(type) {
	case nil:
		return nil
	case string:
		return []byte(value)
	case float64:
		b, err := serde.Int64.Append(nil, int64(value))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	t.Fatalf("topic %q: value %v is of an unknown type", topic, value)
	return nil
}

// key decodes a key, and the window that it is in, if it is in one.
func (v *vector) key(t *testing.T, topic string, b []byte) (string, *vectorWindow) {
	t.Helper()
	switch v.Topics[topic].Key {
	case "windowed<string>":
		k, err := window.TimeKey(serde.String, v.windowSize()).Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		return k.Key, &vectorWindow{k.Start, k.End}
	case "session_windowed<string>":
		k, err := window.SessionKeys(serde.String).Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		return k.Key, &vectorWindow{k.Start, k.End}
	}
	return string(b), nil
}

// windowSize is that of the windows of the outputs, which their keys leave out.
func (v *vector) windowSize() time.Duration {
	for _, o := range v.Outputs {
		if o.Window != nil {
			return ms(o.Window.End - o.Window.Start)
		}
	}
	return ms(10)
}

// value decodes what came out of a topic as JSON would have it.
func (v *vector) value(t *testing.T, topic string, b []byte) any {
	t.Helper()
	if b == nil {
		return nil
	}
	if v.Topics[topic].Value == "string" {
		return string(b)
	}
	n, err := serde.Int64.Decode(b)
	if err != nil {
		t.Fatalf("topic %q: %v", topic, err)
	}
	return float64(n)
}
