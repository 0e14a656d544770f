// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millrace/millrace/broker/internal/seglog"
)

// codes maps what goes wrong inside to what the protocol says, first match
// first.
var codes = []struct {
	err  error
	code *kerr.Error
}{
	{seglog.ErrCorruptBatch, kerr.CorruptMessage},
	{seglog.ErrUnsupportedMagic, kerr.UnsupportedForMessageFormat},
	{seglog.ErrInvalidRecord, kerr.InvalidRecord},
	{errInvalidTimestamp, kerr.InvalidTimestamp},
	{seglog.ErrTooLarge, kerr.MessageTooLarge},
	{seglog.ErrBadCodec, kerr.UnsupportedCompressionType},
	{seglog.ErrOutOfOrderSequence, kerr.OutOfOrderSequenceNumber},
	{seglog.ErrDuplicateSequence, kerr.DuplicateSequenceNumber},
	{seglog.ErrInvalidProducerEpoch, kerr.InvalidProducerEpoch},
	{seglog.ErrUnknownProducer, kerr.UnknownProducerID},
	{seglog.ErrStaleLeaderEpoch, kerr.NotLeaderForPartition},
	{seglog.ErrOffsetOutOfRange, kerr.OffsetOutOfRange},
	{seglog.ErrLogFailed, kerr.KafkaStorageError},
	{seglog.ErrClosed, kerr.UnknownTopicOrPartition}, // the topic was deleted, or the broker closes
	{errNotAcknowledged, kerr.RequestTimedOut},
	{errTopicExists, kerr.TopicAlreadyExists},
	{errUnknownTopic, kerr.UnknownTopicOrPartition},
	{errInvalidTopic, kerr.InvalidTopicException},
	{errInvalidPartitions, kerr.InvalidPartitions},
	{errReplicationFactor, kerr.InvalidReplicationFactor},
	{errAssignment, kerr.InvalidReplicaAssignment},
	{errTimedOut, kerr.RequestTimedOut},
	{errNamedTwice, kerr.InvalidRequest},
	{errAssigned, kerr.InvalidRequest},
	{errPolicy, kerr.PolicyViolation},
	{errInvalidConfig, kerr.InvalidConfig},
	{errResourceKind, kerr.InvalidRequest},
	{errUnknownNode, kerr.InvalidRequest},
	{errFixed, kerr.InvalidRequest},
	{errBadChange, kerr.InvalidRequest},
	{context.Canceled, kerr.RequestTimedOut},
	{context.DeadlineExceeded, kerr.RequestTimedOut},
}

// codeOf is the protocol's code for err, 0 for nil. What is not in the table
// came from the disk.
func codeOf(err error) int16 {
	if err == nil {
		return 0
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code.Code
		}
	}
	if k, ok := errors.AsType[*kerr.Error](err); ok {
		return k.Code
	}
	return kerr.KafkaStorageError.Code
}

// isStorage tells whether a code is the broker's trouble, to be logged, and not
// the client's.
func isStorage(code int16) bool { return code == kerr.KafkaStorageError.Code }

// message is the text of an error for answers that carry one.
func message(err error) *string {
	if err == nil {
		return nil
	}
	s := err.Error()
	return &s
}
