// SPDX-License-Identifier: Apache-2.0

// Package seglog is one partition's log: record batches of Kafka's format v2,
// stored as clients sent them, in segment files with sparse indexes by offset
// and by time. It assigns offsets, checks the sequences of idempotent producers,
// survives a crash at any moment, and says what survives (see [FlushMode]). Old
// records go by age and size ([Log.Retain]) or by key ([Cleaner]).
//
// The files and the rules of recovery are in docs/format/segment.md.
package seglog
