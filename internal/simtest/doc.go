// SPDX-License-Identifier: Apache-2.0

// Package simtest runs whole applications against whole brokers in its tests, with
// faults, in two ways:
//
//   - The core simulation has several instances, their group and their logs on one
//     goroutine, under one queue of events in virtual time. What decides is the real
//     thing: the balancer (runtime/assign), the member's core (link/member) and the
//     task's core (runtime.Task) with its stores. What carries is simulated: the
//     coordinator of the classic protocol, the network, the logs, and the order in
//     which an instance and its client call the cores. A seed replays byte for byte.
//   - The shells, the client included, run as they are against the bundled broker in
//     memory, in real time. A seed fixes input and faults there, not the interleaving.
//
// What the core simulation leaves out: records that an instance appends after the
// group has evicted it. At-least-once does not fence them: they can go into a changelog
// beside those of the task's next owner.
package simtest
