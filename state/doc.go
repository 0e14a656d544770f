// SPDX-License-Identifier: Apache-2.0

// Package state holds the stores of the engine. A store is a [Base] plus sealed
// layers plus one open layer:
//
//	open layer     decoded values, owned by the worker     written by Set, Put, Unset, Delete
//	sealed layers  encoded, immutable                      waiting for their changelog records
//	committed ones encoded, immutable                      acknowledged, handed to the base in lumps
//	base           bytes on disk or in memory              with a [Header] that says how far they are
//
// Reading goes from top to bottom; the newest answer wins. Nothing below the open
// layer ever holds what the changelog has not got, and the base takes data and
// header in one atomic step: a crash at any moment leaves a base that says
// truly up to which offset of the changelog it is right. The changelog is the
// only log; no base has one of its own.
//
// Bases are given by a [Backend]: [Memory] here, RocksDB and Pebble in the
// packages below. docs/format/store.md tells the bytes.
package state
