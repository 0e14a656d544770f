// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"errors"
	"fmt"
)

// What an operation of the log can answer, for the broker to map to Kafka's
// codes (in brackets). They come wrapped: compare with errors.Is.
var (
	ErrCorruptBatch       = errors.New("corrupt batch")                // CRC or lengths (CORRUPT_MESSAGE)
	ErrUnsupportedMagic   = errors.New("unsupported record format")    // magic is not 2 (UNSUPPORTED_FOR_MESSAGE_FORMAT)
	ErrInvalidRecord      = errors.New("invalid record batch")         // well-formed but not allowed (INVALID_RECORD)
	ErrTooLarge           = errors.New("batch too large")              // over MaxBatchBytes (MESSAGE_TOO_LARGE)
	ErrBadCodec           = errors.New("unknown compression codec")    // (UNSUPPORTED_COMPRESSION_TYPE)
	ErrOutOfOrderSequence = errors.New("out of order sequence number") // (OUT_OF_ORDER_SEQUENCE_NUMBER)
	ErrDuplicateSequence  = errors.New("duplicate sequence number")    // older than the last 5 batches (DUPLICATE_SEQUENCE_NUMBER)

	// ErrInvalidProducerEpoch: a newer epoch of this producer was seen (INVALID_PRODUCER_EPOCH).
	ErrInvalidProducerEpoch = errors.New("producer epoch is fenced")
	// ErrUnknownProducer is what brokers before Kafka 2.0 answer to a producer that
	// they know nothing of (UNKNOWN_PRODUCER_ID). This log accepts such a producer
	// with any sequence (KIP-360) and never answers it: it is here for the table of codes.
	ErrUnknownProducer = errors.New("unknown producer id")
	// ErrStaleLeaderEpoch: Append was called with a leader epoch below the log's latest.
	ErrStaleLeaderEpoch = errors.New("leader epoch is stale")
	// ErrOffsetOutOfRange: below the log start offset or above the log end offset (OFFSET_OUT_OF_RANGE).
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrLogFailed: an earlier write or fsync left the disk in an unknown state.
	// Appends are refused until the log is opened anew; reads go on (KAFKA_STORAGE_ERROR).
	ErrLogFailed = errors.New("log has failed")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("log is closed")
)

// A CorruptError tells of damage to a log file that the log will not repair by
// itself, since data that was durable would be lost: see docs/format/segment.md.
type CorruptError struct {
	File     string // path of the damaged file
	Position int64  // byte at which the damage was seen
	Offset   int64  // the first offset that can't be read
	Cause    error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("corrupt log file %s at position %d, offset %d: %v", e.File, e.Position, e.Offset, e.Cause)
}

// Unwrap is the cause.
func (e *CorruptError) Unwrap() error { return e.Cause }
