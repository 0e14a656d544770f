// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"
	"math"

	"github.com/millrace/millrace/state"
)

// NoTime is a time before all others: that of a clock that has seen no record.
const NoTime int64 = math.MinInt64

// ErrTooLarge says that a record is larger than its topic takes. An [Output] knows
// it before anything of the record is sent.
var ErrTooLarge = errors.New("the record is larger than its topic takes")

// Env is what a node is built with: its task, as far as a node may know it. It
// is used by the task's worker only.
type Env interface {
	// Store gives an open store of this task by name.
	Store(name string) state.Store
	// Global gives an open global store by name, for its committed view: another
	// goroutine writes it.
	Global(name string) state.Store
	// Output gives the way out of a sink: the partition is chosen as the Java
	// client's default partitioner does, murmur2 of the key, any for a null key.
	Output(sink *Node) Output
	// OutputTo is Output to a topic that is chosen as records come.
	OutputTo(topic string) Output
	// Partitions is the number of partitions that the topic of a sink with Partitioned
	// had when the application started.
	Partitions(sink *Node) int32
	// OutputAt is Output into one partition, for a sink with Partitioned.
	OutputAt(sink *Node, partition int32) Output
	// Current is the record that came in, for as long as it is being processed.
	Current() *Current
	// Drop counts a record that n drops by the rules of its operator, by reason.
	Drop(n *Node, reason string)
	// AtCommit registers fn to run at each commit before the stores are sealed,
	// in the order of the graph, so that what fn sends on is part of the commit.
	AtCommit(n *Node, fn func() error)

	// StreamTime is the highest time of the records that the task has seen, or NoTime.
	StreamTime() int64
	// WallTime is the time of day in ms since the Unix epoch, as of the last look
	// that the task's owner took at the clock: at most a batch old.
	WallTime() int64
	// Observed gives a time that n keeps: the highest that it has seen, in ms, NoTime
	// at first. n moves it. It is committed with the rest, so that a crash changes no
	// result; n must have a name.
	Observed(n *Node) *int64
	// EmitInterval is the shortest time, in ms of the time of day, between two looks of
	// an operator for results that are due by stream time. 0: it looks at each record.
	EmitInterval() int64
	// AtTime registers fn to run when stream time moves on without a record, since
	// all inputs are idle, before punctuations that are due then.
	AtTime(n *Node, fn func(streamTime int64) error)
	// Schedule registers fn to run again and again. It may be called at any time.
	Schedule(n *Node, s Schedule, fn func(at int64) error) (cancel func())

	// At is where a node notes its ID before it calls a function of the program, so
	// that a panic is known to be its own.
	At() *int32
	// Failed applies the policy to a failure of n at the record in hand: try again,
	// go on without the record (false, nil), or end with the error.
	// try counts from 1; try 0 says that n cannot try again.
	Failed(n *Node, stage Stage, try int, err error) (again bool, _ error)
	// Panicked is Failed for what recover gave, at the node that At tells.
	Panicked(v any) error
}

// Current says where the record in hand came from.
type Current struct {
	Topic     string
	Partition int32
	Raw       *Raw // nil outside of a record, as at a commit or a punctuation
}

// A Schedule says when a punctuation is due: at the points Start + n*Every of its
// clock. Where time jumps over several of them it runs once.
type Schedule struct {
	Wall  bool  // by the time of day; else by stream time
	Every int64 // ms, at least 1
	// Start is a point of the grid, in ms since the Unix epoch. NoTime: the epoch for
	// stream time, so that the first record brings the first punctuation; for the time
	// of day Every after the call.
	Start int64
}

// A Stage is what was being done with a record when it failed.
type Stage uint8

// The stages of a record.
const (
	Decoding Stage = iota
	Processing
	Producing
)

// String names the stage.
func (s Stage) String() string {
	return [...]string{"decode", "process", "produce"}[s]
}

// A Policy says what becomes of a record that fails. The zero value ends the
// processing.
type Policy struct {
	Action    Action
	Topic     string // of dead letters
	Retries   int    // tries after the first, before Action
	BackoffMs int64  // the wait before the first of them, doubled with each up to 30 s
}

// An Action is the end of a Policy.
type Action uint8

// The actions.
const (
	Fail       Action = iota // end with the error
	Skip                     // go on without the record, counted
	DeadLetter               // Skip, and the record that came in goes to a topic
)

// Policies are those of an application, by stage.
type Policies [3]Policy
