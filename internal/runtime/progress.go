// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"cmp"
	"slices"
	"time"
)

// Progress is how far an instance is, at one moment.
type Progress struct {
	State   State
	Records int64 // processed by the tasks that are assigned now
	Commits int64 // of all workers, that ended well
	// CommitTime is how long these have taken all together, from sealing the stores until
	// the offsets are committed; tasks go on meanwhile.
	CommitTime time.Duration
	// Restarts counts the restarts of tasks after failures.
	Restarts int64
	Memory   MemoryUse
	Tasks    []TaskProgress
	// Globals are the partitions of global tables' topics; they commit nothing.
	Globals []InputProgress
}

// TaskProgress is how far a task is.
type TaskProgress struct {
	ID      TaskID
	Running bool
	Records int64 // processed since it was assigned
	Inputs  []InputProgress
	// Changelog offsets read, and to be read, by the restore at its start.
	Restored, ToRestore int64
	// RestoreLeft is an estimate of how long the restore will still take; 0: it is over,
	// or there is nothing to estimate it from.
	RestoreLeft time.Duration
	// StreamTime is the highest time of the records seen, in ms since the Unix epoch,
	// NoTime before the first one.
	StreamTime int64
	// Dropped is the number of records that were dropped, by step and reason. It is
	// not changed any more.
	Dropped map[Drop]int64
	// StateDirty and StateCached are the memory, in bytes, of what the stores have
	// not committed and of what they keep to answer reads, as of the last commit.
	StateDirty, StateCached int64
}

// InputProgress is how far an input of a task is. Offsets are next ones.
type InputProgress struct {
	Topic     string
	Partition int32
	Position  int64 // processed; -1: not known yet
	Committed int64 // -1: none
	End       int64 // high watermark as of the last fetch; -1: not known yet
}

// Lag is the number of offsets not processed yet, 0 if it is not known.
func (p InputProgress) Lag() int64 {
	if p.Position < 0 || p.End < 0 {
		return 0
	}
	return max(0, p.End-p.Position)
}

// Lag is the sum over all inputs.
func (p Progress) Lag() int64 {
	var lag int64
	for _, t := range p.Tasks {
		for _, in := range t.Inputs {
			lag += in.Lag()
		}
	}
	return lag
}

// Progress gives a snapshot, tasks in order of their ids.
func (a *App) Progress() Progress {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	p := Progress{State: a.life.get(), Commits: a.commits.Load(), CommitTime: time.Duration(a.committing.Load()), Restarts: a.restarts.Load(), Memory: a.memory.use()}
	for _, s := range a.tasks() {
		t := TaskProgress{
			ID: s.id, Running: s.phase == running, Records: s.processed.Load(),
			Restored: s.restored.Load(), ToRestore: s.toRestore.Load(), RestoreLeft: s.left(now),
			StreamTime: s.streamTime.Load(), StateDirty: s.stateDirty.Load(), StateCached: s.stateCached.Load(),
		}
		if dropped := s.dropped.Load(); dropped != nil {
			t.Dropped = *dropped
		}
		for part, in := range s.inputs() {
			t.Inputs = append(t.Inputs, InputProgress{
				Topic: part.Topic, Partition: part.Num,
				Position: in.position.Load(), Committed: in.committed.Load(), End: in.end.Load(),
			})
		}
		slices.SortFunc(t.Inputs, func(x, y InputProgress) int { return cmp.Compare(x.Topic, y.Topic) })
		p.Records += t.Records
		p.Tasks = append(p.Tasks, t)
	}
	for _, g := range a.globals {
		for _, in := range g.parts {
			p.Globals = append(p.Globals, InputProgress{
				Topic: in.Topic, Partition: in.Num, Position: in.position.Load(), Committed: -1, End: in.end.Load(),
			})
		}
	}
	return p
}

func compareID(x, y TaskID) int {
	return cmp.Or(cmp.Compare(x.Sub, y.Sub), cmp.Compare(x.Partition, y.Partition))
}
