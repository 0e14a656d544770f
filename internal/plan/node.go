// SPDX-License-Identifier: Apache-2.0

package plan

import "github.com/millrace/millrace/state"

// Kind tells what a node is to the runtime.
type Kind uint8

// The kinds of node.
const (
	Source   Kind = iota // reads a topic: has Input, no parents
	Operator             // has Make
	Sink                 // writes a topic: has Make, no children
)

// A Node is one step of the graph. It is untyped: Input or Make bring the types
// when a task is built, once a task.
type Node struct {
	ID       int      // place in the order of definition, from 0
	Kind     Kind     //
	Op       string   // what it does, as the field says it: "source", "map", "aggregate" ...
	Name     string   // the name its author gave it; "" if it has none
	Site     string   // file:line of the call that made it
	Topic    string   // of a source or a sink; "" of a source with a Pattern
	Pattern  *Pattern // of a source of all topics that match; nil: of Topic
	Internal bool     // Topic is a repartition topic of this application
	Parents  []*Node
	Children []*Node
	Stores   []*Store // those it reads or writes
	Policy   *Policy  // of records that fail here; nil: the application's

	// Reset says where a source begins where nothing is committed. The zero value is the
	// start.
	Reset Reset
	// Partitions is how many partitions the repartition topic of an internal sink has; 0:
	// as many as the topics that it comes from.
	Partitions int32
	// Partitioned says that a sink chooses the partitions of its topic, which must exist.
	Partitioned bool

	// Extracts says that a source's Decode gives another time than the record's own,
	// so that the record must be decoded before its place in the order is known.
	Extracts bool
	// SkipInvalid drops records with a negative timestamp; without it they are errors.
	SkipInvalid bool

	// Global says that a source feeds a global store: each instance reads all partitions
	// of its topic, with the nodes behind it.
	Global bool

	// Input builds a source for one task. outs are its children's entries, in
	// order; each is a func(processor.Record[K, V]) error of the source's types.
	Input func(env Env, outs []any) (Input, error)
	// Make builds any other node for one task and returns its entry: a
	// func(processor.Record[K, V]) error of the types of its input.
	Make func(env Env, outs []any) (any, error)
}

// A Reset is where a topic is read from where nothing is committed, or what is committed
// is not there any more.
type Reset struct {
	From  ResetFrom
	AgoMs int64 // of ResetAgo
}

// A ResetFrom is a kind of [Reset].
type ResetFrom uint8

// The kinds of reset: auto.offset.reset of Kafka.
const (
	ResetStart ResetFrom = iota
	ResetEnd
	ResetAgo   // records of so long ago (KIP-1106)
	ResetNever // it is an error
)

// A Store is the definition of one named store.
type Store struct {
	Name string
	Site string // file:line of the call that made it
	// Open makes the store of one task over its base.
	Open func(base state.Base, opt state.Options) state.Store
}

// A Header is one header of a record.
type Header struct {
	Key   string
	Value []byte // nil is a null, which differs from an empty value
}

// Raw is a record as it was fetched. Its slices stay valid for as long as
// anything holds them: fetch buffers are not recycled.
type Raw struct {
	Key, Value []byte // nil is a null
	Headers    []Header
	Timestamp  int64 // ms since the Unix epoch
	Offset     int64
	Epoch      int32 // leader epoch of its batch, -1 if unknown
}

// An Input takes fetched records into the graph of a task, in two steps: what can
// go wrong with the bytes is known before time moves.
type Input struct {
	// Decode reads a record and tells its time: the record's own, or what the
	// source's extractor makes of it. partitionTime is the highest time of the
	// records before it in its partition, -1 if there are none. The record belongs to
	// the caller; its byte slices may be kept.
	Decode func(r *Raw, partitionTime int64) (timestamp int64, err error)
	// Run passes on what Decode has read last.
	Run func() error
	// Take, if there is one, is both in one call: it reads a record whose time is its own
	// and not negative, moves the two times up to that, and passes it on. taken is false
	// for a record that it leaves to Decode and Run, nothing done. What went wrong before
	// time moved is a [*DecodeError].
	Take func(r *Raw, partitionTime, streamTime *int64) (taken bool, err error)
}

// A DecodeError says that the bytes of a record are not what they must be.
type DecodeError struct{ Err error }

func (e *DecodeError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// Output appends one record to a sink's topic. Nil key or value is a null. It
// copies key and value before it returns; headers must not change afterwards.
type Output func(key, value []byte, timestamp int64, headers []Header) error
