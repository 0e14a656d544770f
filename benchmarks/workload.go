// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A workload is one row of the table: a topology over an input.
type workload struct {
	name     string
	topology string // of benchmarks/app and Peer.java
	folded   bool   // results once a commit; else with every update
	stores   string // memory or rocksdb
	byHand   bool   // the loop by hand does it as well
	inside   bool   // a row with the broker in the application's process, too
	input    input
	table    input // the other side of a join; no records if there is none
	long     bool  // only with -all: it takes minutes
	memory   int64 // bytes, the same bound for all sides; 0: what each has by default
}

// An input is a topic that is filled before anything is measured, the same for
// all sides: keys drawn evenly with a fixed seed, values of 100 B, time going on
// by a fixed step.
type input struct {
	records int
	keys    int
	every   int           // records that have the same timestamp
	step    time.Duration // from one timestamp to the next
	from    time.Duration // the first timestamp, after base
	once    bool          // each key once, in order: a table
	full    bool          // each key comes once, mixed, before any comes again
}

const (
	partitions = 4
	valueBytes = 100
	mixer      = 7_368_787 // a prime, so that multiples of it modulo a number of keys are all keys
)

// base is the timestamp of the first record, ms: a whole hour, so that windows
// begin where it does, and not long ago, or retention would delete the input.
var base = time.Now().Add(-6 * time.Hour).Truncate(time.Hour).UnixMilli()

func (in input) topic() string {
	if in.once {
		return fmt.Sprintf("table-%d-%d", in.keys, in.from.Milliseconds())
	}
	kind := "input"
	if in.full {
		kind = "full"
	}
	return fmt.Sprintf("%s-%d-%d-%d-%d-%d", kind, in.records, in.keys, in.every, in.step.Milliseconds(), in.from.Milliseconds())
}

// record is the i-th record of the input. The result's slices are its own.
func (in input) record(i int, r *rand.Rand) (key, value []byte, timestamp int64) {
	k := i
	switch {
	case in.full && i < in.keys:
		k = int(uint64(i) * mixer % uint64(in.keys))
	case !in.once:
		k = r.IntN(in.keys)
	}
	key = fmt.Appendf(make([]byte, 0, 9), "k%08d", k)
	value = make([]byte, valueBytes)
	for j := 0; j+8 <= len(value); j += 8 {
		binary.BigEndian.PutUint64(value[j:], r.Uint64())
	}
	value[0] = "0123456789"[i%10] // the topology pass drops the records with a 0
	return key, value, base + in.from.Milliseconds() + int64(i/in.every)*in.step.Milliseconds()
}

// workloads are those of the table. scale is the share of the records: 1 for all.
func workloads(scale float64) []workload {
	n := func(records int) int { return max(1000, int(float64(records)*scale)) }
	hot := input{records: n(2_000_000), keys: 10_000, every: 10, step: time.Millisecond}
	warm := input{records: n(1_000_000), keys: 10_000, every: 10, step: time.Millisecond}
	million := input{records: n(1_500_000), keys: n(1_000_000), every: 10, step: time.Millisecond}
	// 100 records of a key in a window of 10 s: a result is an update of a hot row.
	windows := input{records: n(500_000), keys: 1_000, every: 10, step: time.Millisecond}
	batches := windows // 5000 windows
	batches.keys = 100
	hops := input{records: n(250_000), keys: 1_000, every: 5, step: time.Millisecond}
	bursts := input{records: n(500_000), keys: 10_000, every: 10, step: 5 * time.Millisecond}
	// All before the stream: which of two records with the same timestamp a task of
	// Kafka Streams takes first is not defined.
	users := input{records: 10_000, keys: 10_000, every: 1, from: -time.Minute, once: true}
	// Two streams that never have the same timestamp, so that the order in which
	// they are joined is one; a record meets some two of the other stream.
	left := input{records: n(250_000), keys: 25_000, every: 10, step: 2 * time.Millisecond}
	right := left
	right.from = time.Millisecond
	cold := input{records: n(30_000_000), keys: n(20_000_000), every: 10, step: time.Millisecond, full: true}
	// A row of the store takes some 40 B: the state is four times this.
	coldMemory := int64(float64(200<<20) * scale)
	return []workload{
		{name: "pass-through map+filter", topology: "pass", stores: "memory", byHand: true, inside: true, input: hot},
		{name: "count, 10 k keys, every update", topology: "count", stores: "rocksdb", byHand: true, inside: true, input: warm},
		{name: "count, 10 k keys, every update, in memory", topology: "count", stores: "memory", byHand: true, input: warm},
		{name: "count, 10 k keys, folded", topology: "count", folded: true, stores: "rocksdb", byHand: true, inside: true, input: hot},
		{name: "count, 10 k keys, folded, in memory", topology: "count", folded: true, stores: "memory", byHand: true, input: hot},
		{name: "count, 1 M keys, every update, in memory", topology: "count", stores: "memory", byHand: true, input: million},
		{name: "count, 1 M keys, every update", topology: "count", stores: "rocksdb", input: million},
		{name: "count, 1 M keys, folded", topology: "count", folded: true, stores: "rocksdb", input: million},
		{name: "count, 20 M keys in 200 MiB, every update", topology: "count", stores: "rocksdb", input: cold, memory: coldMemory, long: true},
		{name: "count, 20 M keys in 200 MiB, folded", topology: "count", folded: true, stores: "rocksdb", input: cold, memory: coldMemory, long: true},
		{name: "tumbling count, 10 s", topology: "tumbling", stores: "rocksdb", input: windows},
		{name: "hopping count, 60 s by 10 s", topology: "hopping", stores: "rocksdb", input: hops},
		{name: "session count, 5 s gap", topology: "session", stores: "rocksdb", input: bursts},
		// Kafka Streams has none: a Processor with a store does it there.
		{name: "count windows of 100 records", topology: "count-window", folded: true, stores: "rocksdb", input: batches},
		{name: "stream-table join", topology: "stream-table", stores: "rocksdb", input: warm, table: users},
		{name: "stream-stream join, 5 s", topology: "stream-stream", stores: "rocksdb", input: left, table: right},
	}
}

// records is how many a run of the workload processes.
func (w workload) records() int { return w.input.records + w.table.records }

// chosen are the workloads whose topology or name is among the given ones, or
// all, but for the long ones if they are not asked for.
func chosen(all []workload, names []string, long bool) []workload {
	return slices.DeleteFunc(all, func(w workload) bool {
		if len(names) > 0 && !slices.Contains(names, w.topology) && !slices.Contains(names, w.name) {
			return true
		}
		return w.long && !long && !slices.Contains(names, w.name)
	})
}
