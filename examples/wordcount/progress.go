// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/millrace/millrace/processor"
)

// progressEvery is the time between two lines of a progress file.
const progressEvery = 50 * time.Millisecond

// A sample is a line of a progress file: how far this instance is, at one moment.
// It is for a look at a run from outside (tail -f FILE | jq), and tells after a
// crash how far the process had come.
type sample struct {
	Time    int64        `json:"time"` // ms since the Unix epoch
	State   string       `json:"state"`
	Records int64        `json:"records"` // processed by the tasks that are assigned now
	Tasks   []taskSample `json:"tasks"`
}

// taskSample is how far a task is: see processor.TaskProgress.
type taskSample struct {
	ID        string        `json:"id"`
	Running   bool          `json:"running"`
	Records   int64         `json:"records"`
	Restored  int64         `json:"restored"`
	ToRestore int64         `json:"to_restore"`
	Inputs    []inputSample `json:"inputs"`
}

// inputSample is how far an input is: see processor.InputProgress.
type inputSample struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Position  int64  `json:"position"`
	Committed int64  `json:"committed"`
	End       int64  `json:"end"`
}

func newSample(now time.Time, p processor.Progress) sample {
	s := sample{Time: now.UnixMilli(), State: p.State.String(), Records: p.Records, Tasks: []taskSample{}}
	for _, t := range p.Tasks {
		ts := taskSample{ID: t.ID.String(), Running: t.Running, Records: t.Records, Restored: t.Restored, ToRestore: t.ToRestore}
		for _, in := range t.Inputs {
			ts.Inputs = append(ts.Inputs, inputSample(in))
		}
		s.Tasks = append(s.Tasks, ts)
	}
	return s
}

// report appends a sample to the progress file every 50 ms until ctx ends. Each
// line is one write: a crash leaves none half written.
func (w *work) report(ctx context.Context) error {
	f, err := os.OpenFile(w.progress, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open the progress file: %w", err)
	}
	defer f.Close()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		line, err := json.Marshal(newSample(time.Now(), w.instance.App.Progress()))
		if err != nil {
			return fmt.Errorf("write the progress file: %w", err)
		}
		if _, err := f.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("write the progress file: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
