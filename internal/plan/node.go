// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"math"

	"github.com/millrace/millrace/state"
)

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
	ID       int    // place in the order of definition, from 0
	Kind     Kind   //
	Op       string // what it does, as the field says it: "source", "map", "aggregate" ...
	Name     string // the name its author gave it; "" if it has none
	Site     string // file:line of the call that made it
	Topic    string // of a source or a sink
	Internal bool   // Topic is a repartition topic of this application
	Parents  []*Node
	Children []*Node
	Stores   []*Store // those it reads or writes

	// Input builds a source for one task. outs are its children's entries, in
	// order; each is a func(processor.Record[K, V]) error of the source's types.
	Input func(env Env, outs []any) (Input, error)
	// Make builds any other node for one task and returns its entry: a
	// func(processor.Record[K, V]) error of the types of its input.
	Make func(env Env, outs []any) (any, error)
}

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

// Input takes one fetched record into the graph of a task. The record belongs
// to the caller; its byte slices may be kept.
type Input func(r *Raw) error

// Output appends one record to a sink's topic. Nil key or value is a null. It
// copies key and value before it returns; headers must not change afterwards.
type Output func(key, value []byte, timestamp int64, headers []Header) error

// Env is what a node is built with: its task, as far as a node may know it. It
// is used by the task's worker only.
type Env interface {
	// Store gives an open store of this task by name.
	Store(name string) state.Store
	// Output gives the way out of a sink: the partition is chosen as the Java
	// client's default partitioner does, murmur2 of the key, any for a null key.
	Output(sink *Node) Output
	// Current is the record that came in, for as long as it is being processed.
	Current() *Current
	// Observed gives a time that n keeps: the highest that it has seen, in ms, NoTime
	// at first. n moves it. It is committed with the rest, so that a crash changes no
	// result; n must have a name.
	Observed(n *Node) *int64
	// Drop counts a record that n drops by the rules of its operator, by reason.
	Drop(n *Node, reason string)
	// AtCommit registers fn to run at each commit before the stores are sealed,
	// in the order of the graph, so that what fn sends on is part of the commit.
	AtCommit(n *Node, fn func() error)
}

// NoTime is a time that is not known yet.
const NoTime int64 = math.MinInt64

// Current says where the record in hand came from.
type Current struct {
	Topic     string
	Partition int32
	Raw       *Raw // nil outside of a record, as at a commit
}
