// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"iter"
	"os"
	"testing"
	"time"
)

const wordsTopic = "wordcount-by-word-repartition"

// A part is a partition of a topic.
type part struct {
	topic string
	num   int32
}

// offsets are places in partitions.
type offsets map[part]int64

// of is the sum over a topic's partitions.
func (o offsets) of(topic string) int64 {
	sum := int64(0)
	for p, n := range o {
		if p.topic == topic {
			sum += max(n, 0)
		}
	}
	return sum
}

// work is how many records of the job the offsets stand for.
func (o offsets) work() int64 { return o.of(Lines.Name()) + o.of(wordsTopic) }

// inputs yields the inputs of all tasks.
func (s sample) inputs() iter.Seq[inputSample] {
	return func(yield func(inputSample) bool) {
		for _, t := range s.Tasks {
			for _, in := range t.Inputs {
				if !yield(in) {
					return
				}
			}
		}
	}
}

func (s sample) committed() offsets {
	return s.offsets(func(in inputSample) int64 { return in.Committed })
}

func (s sample) positions() offsets {
	return s.offsets(func(in inputSample) int64 { return in.Position })
}

func (s sample) offsets(of func(inputSample) int64) offsets {
	o := offsets{}
	for in := range s.inputs() {
		o[part{in.Topic, in.Partition}] = of(in)
	}
	return o
}

// lag is what is known to wait for the tasks.
func (s sample) lag() int64 {
	lag := int64(0)
	for in := range s.inputs() {
		lag += max(in.End-in.Position, 0)
	}
	return lag
}

// A track is what a progress file has told so far.
type track struct {
	path    string
	rest    int64 // offset in the file of what is to be read
	samples []sample
}

// last reads what is new and gives the newest sample, the zero one if there is none.
func (tr *track) last(t *testing.T) sample {
	t.Helper()
	f, err := os.Open(tr.path)
	if os.IsNotExist(err) {
		return sample{}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Seek(tr.rest, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	for {
		line, rest, ok := bytes.Cut(text, []byte{'\n'})
		if !ok {
			break
		}
		var s sample
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatalf("progress file: line %q: %v", line, err)
		}
		tr.samples = append(tr.samples, s)
		tr.rest += int64(len(line)) + 1
		text = rest
	}
	if len(tr.samples) == 0 {
		return sample{}
	}
	return tr.samples[len(tr.samples)-1]
}

// gap is the longest time between two samples.
func (tr *track) gap() time.Duration {
	gap := int64(0)
	for i := range tr.samples[1:] {
		gap = max(gap, tr.samples[i+1].Time-tr.samples[i].Time)
	}
	return time.Duration(gap) * time.Millisecond
}

// stride is how many records of a topic the process took at most between two
// samples, all its tasks together.
func (tr *track) stride(topic string) int64 {
	var most int64
	before := offsets{}
	for _, s := range tr.samples {
		now, step := s.positions(), int64(0)
		for p, n := range now {
			if b, ok := before[p]; ok && b >= 0 && p.topic == topic {
				step += n - b
			}
		}
		most = max(most, step)
		before = now
	}
	return most
}

// since is when the track first saw an input beyond an offset.
func (tr *track) since(p part, offset int64) (time.Time, bool) {
	for _, s := range tr.samples {
		if n, ok := s.positions()[p]; ok && n > offset {
			return time.UnixMilli(s.Time), true
		}
	}
	return time.Time{}, false
}
