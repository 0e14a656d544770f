// SPDX-License-Identifier: Apache-2.0

// Package difftest has a test alone: it sends the same requests, right and
// wrong, of every announced key and version, to the bundled broker and to a real
// Apache Kafka 4.3.1, and compares the answers field by field.
//
// A case is a script that runs on both nodes, each with names of its own. What
// differs from run to run has symbols in place of values, by rules that go by
// the kind of a field (flatten_test.go): ids of topics, members and producers,
// ports, times of day, texts of errors (null or not is compared). Elements of
// lists are matched by what names them, not by their place.
//
// A difference that stays is a line of testdata/exceptions.txt, with its reason.
// One that is not there fails the test, and so does a line that nothing matches
// any more. DIFFTEST=pattern runs only the cases whose name matches the regular
// expression; lines without a match are no failure then.
package difftest
