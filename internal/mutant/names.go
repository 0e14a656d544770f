// SPDX-License-Identifier: Apache-2.0

package mutant

// The mistakes that named tests must catch: see "make mutants".
const (
	SkipFsync             Name = "skip-fsync"              // seglog answers a flush without syncing the file
	CompactionDropsNewest Name = "compaction-drops-newest" // seglog keeps the older records of a key instead of its latest

	ForgetFifthBatch Name = "forget-fifth-batch" // seglog remembers four batches of an idempotent producer instead of five

	AckBeforeAppend          Name = "ack-before-append"           // the broker acknowledges a batch before it is in the log
	HighWatermarkBeforeFlush Name = "high-watermark-before-flush" // the broker shows a batch before the flush policy has acknowledged it
	OffsetReuse              Name = "offset-reuse"                // the broker gives the offsets of lost records to others in the same leader epoch

	GroupAnswerBeforeAppend Name = "group-answer-before-append" // the group coordinator answers before its records are in the log
	GroupEmptyWhileLoading  Name = "group-empty-while-loading"  // the group coordinator answers before it has replayed its log
)
