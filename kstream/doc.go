// SPDX-License-Identifier: Apache-2.0

// Package kstream is the DSL of streams: a [KStream] is a sequence of events,
// each step of a chain adds a node to the topology, and every type is inferred
// from the topics at its ends.
//
//	kstream.From(t, Lines).
//		FlatMapValues(strings.Fields).
//		GroupBy("by-word", func(_ topic.NoKey, word string) string { return word }).
//		Count("counts").
//		To(Counts)
//
// The semantics are those of the operations of the same name in Kafka Streams.
// A stream's records reach an operator one at a time, in the order of their
// partition; the functions given to operators are called by one goroutine a
// task, by several for the tasks of an application, so they must not share
// state without a lock. A function must not change the headers of a record or
// the bytes of a key or value that it was given.
//
// Absence is [opt.V] and nothing else: a null that meets a plain type at its
// source is dropped and counted; a topic of opt.V[V] lets it through.
package kstream
