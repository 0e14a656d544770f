// SPDX-License-Identifier: Apache-2.0

// Package group is the coordinator of consumer groups: the classic group
// protocol (JoinGroup, SyncGroup, Heartbeat, LeaveGroup), the consumer protocol
// of KIP-848 (ConsumerGroupHeartbeat) with the conversion of groups from one to
// the other, and the committed offsets, all kept in the records of
// __consumer_offsets in Kafka's own format.
//
// In this package a group that uses the consumer protocol, as Kafka does, is
// called a consumer group, or a modern one where a name must be short.
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
// Unlike Kafka, a consumer group's regular expressions are resolved at once and
// its targets are computed at once (group.consumer.assignment.interval.ms of
// KIP-1263 would be 0).
//
// Not here yet: transactional offset commits, and the share and streams group
// types (their records are skipped by a replay).
package group
