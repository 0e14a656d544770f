// SPDX-License-Identifier: Apache-2.0

// Package processor is the front of the engine: a [Topology] is what an
// application does, an [App] is an instance of it that runs, started by [Start]
// with a [Config]. The steps of a topology are added by packages kstream and
// ktable; package testdriver runs a topology in a test.
//
// A record that fails - at a decoding, a function of the program, a write - meets a
// [Policy]: of its step, or of the application. [Context] is what low-level steps
// see: the way on, times, punctuations, the stores that [AddStore] adds.
//
// What an application is promised: every record of its sources is processed at
// least once, those of a partition in order; state and results of what was
// processed before the last commit survive the loss of the process and of its
// disk, since they are in the changelogs.
package processor
