// SPDX-License-Identifier: Apache-2.0

package failpoint

// The places where a process may be made to die.
const (
	AfterAppend    Name = "after-append"    // seglog: a batch is written, nobody knows of it yet
	BeforeFsync    Name = "before-fsync"    // seglog: a segment is about to be synced
	SegmentRoll    Name = "segment-roll"    // seglog: a new segment's file is there, not yet in the list
	IndexWrite     Name = "index-write"     // seglog: the index files of a segment are about to be written
	SnapshotRename Name = "snapshot-rename" // seglog: a producer snapshot is written under its temporary name
	CompactionSwap Name = "compaction-swap" // seglog: a compacted segment is to take the place of others, after each step
	OffsetsCommit  Name = "offsets-commit"  // broker: a group's records are in the log, nobody knows of it yet
)
