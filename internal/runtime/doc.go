// SPDX-License-Identifier: Apache-2.0

// Package runtime is the engine: it runs a plan. It moves bytes, offsets and
// time and never sees the type of a key or a value.
//
// A [Task] is a sub-topology and a partition, with its stores: a core, without
// goroutine, clock or I/O of its own. An [App] is the shell around the tasks of one
// process:
//
//	fetch loop      polls the member, fills the tasks' bounded queues, pauses what is full
//	workers         run their tasks, one at a time, in slices of a batch
//	prober          asks for the ends of inputs that bring nothing
//	watcher         looks for source topics that have come, gone or grown
//	committers      one a worker: wait for acknowledgements, commit the offsets
//	restorers       open the bases of new tasks and bring them up to date
//	control         connects, joins, and in the end closes everything
//
// The tasks of a worker are committed together, and the worker goes on with the
// next layer meanwhile:
//
//	seal -> changelogs appended -> all acknowledged -> offsets committed -> layers to the bases
//
// A record that fails meets the policy of its node or of the application. What no
// policy gets over ends the App, or the tasks of the worker, which are started again
// from the last commit: see [OnFailure].
//
// A crash between any two of these loses nothing: a base never holds what its
// changelog has not got, and offsets follow the changelog, so that what is read
// twice is at most what came after the last commit (at least once).
package runtime
