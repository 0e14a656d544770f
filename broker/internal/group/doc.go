// SPDX-License-Identifier: Apache-2.0

// Package group is the coordinator of consumer groups: the classic group
// protocol (JoinGroup, SyncGroup, Heartbeat, LeaveGroup) and the committed
// offsets, both kept in the records of __consumer_offsets in Kafka's own format.
//
// It is a core and a shell. The core holds the groups of one partition of
// __consumer_offsets and is a state machine: an event and the time go in;
// records to append, replies and the next deadline come out. It has no
// goroutine, clock, randomness or I/O, and no effect hangs on the order of a
// map, so that a seed replays a run. The shell (Coordinator) owns one goroutine
// a partition that turns requests, timers and finished appends into events.
//
// Two rules hold everything together:
//
//   - A reply, also to a read, waits until the records that the state it
//     tells of depends on are below the high watermark.
//   - A failed append leaves the log as the only truth: the partition is
//     unloaded, its log is replayed, and COORDINATOR_LOAD_IN_PROGRESS is the
//     answer to all until the replay has ended.
//
// Not here yet: transactional offset commits, OffsetDelete, and the consumer,
// share and streams group types (their records are skipped by a replay).
package group
