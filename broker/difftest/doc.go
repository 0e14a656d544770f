// SPDX-License-Identifier: Apache-2.0

// Package difftest has a test alone: it sends the same requests, right and
// wrong, of every announced key and version, to the bundled broker and to a real
// Apache Kafka 4.3.1, and compares the answers field by field.
//
// A case is a script that runs on both nodes, each with topics and groups of its
// own. General rules keep out what says nothing (flatten_test.go, compare):
//
//   - What differs from run to run has symbols in place of values: ids of topics,
//     members, producers and sessions, ports, times of day. Of texts of errors it
//     is compared whether they are null.
//   - Elements of lists are matched by what names them, not by their place; the
//     partitions of a topic that is told twice are told together.
//   - Where the error codes of an element differ, that is the difference, and what
//     one node does not have has no fields that could differ.
//   - How long the records of offsets are in the log is not compared: they carry
//     ids of the node.
//   - Keys that only Kafka announces are no difference.
//
// Questions that Kafka leaves without an answer (null records in Produce, a
// resource twice in AlterConfigs) are not asked.
//
// A difference that stays is a line of testdata/exceptions.txt, with its reason.
// One that is not there fails the test, and so does a line that nothing matches
// any more. DIFFTEST=pattern runs only the cases whose name matches the regular
// expression; lines without a match are no failure then. MILLRACE_LONG=1 tries long
// lists of wrong values at every version, not at the highest alone.
package difftest
