// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker/internal/seglog"
)

var errInvalidTimestamp = errors.New("invalid timestamp")

// checkRecords refuses records that the topic does not take, and tells the
// client which they are: those without a key, which compaction could neither
// keep nor drop, and those with a timestamp too far from now. Records are only
// looked into where the topic's configs or the batch's header give a reason.
func checkRecords(w *appending, h *seglog.Header, conf *topicConfig) error {
	c := recordCheck{keys: conf.compact, earliest: -1, latest: noLimit, stamped: conf.logAppendTime && h.LogAppendTime()}
	if !conf.logAppendTime {
		c.limitTimes(time.Now().UnixMilli(), conf)
	}
	if !c.keys && !c.stamped && c.earliest <= 0 && h.MaxTimestamp <= c.latest {
		return nil
	}
	if _, err := seglog.ValidateBatch(w.batch, len(w.batch)); err != nil && !c.stamped {
		return err
	}
	index := int32(0)
	err := seglog.EachRecord(w.batch, func(r seglog.Record) error {
		if err := c.check(&r); err != nil {
			c.note(w, index, err)
		}
		index++
		return nil
	})
	if err == nil {
		err = c.refused(w)
	}
	return err
}

// A recordCheck says what records must be like, and remembers what was wrong.
type recordCheck struct {
	keys             bool
	earliest, latest int64 // ms
	stamped          bool  // the client says that the time is that of the append

	first error
	bad   int
}

// limitTimes sets the limits on timestamps, without overflow.
func (c *recordCheck) limitTimes(nowMs int64, conf *topicConfig) {
	if conf.beforeMaxMs < nowMs {
		c.earliest = nowMs - conf.beforeMaxMs
	}
	if conf.afterMaxMs < noLimit-nowMs {
		c.latest = nowMs + conf.afterMaxMs
	}
}

func (c *recordCheck) check(r *seglog.Record) error {
	switch {
	case c.stamped:
		return errStamped
	case c.keys && r.Key == nil:
		return errNoKey
	case r.Timestamp == noTimestamp:
		return nil
	case r.Timestamp < c.earliest || r.Timestamp > c.latest:
		return fmt.Errorf("%w: %d, it should be within [%d, %d]", errInvalidTimestamp, r.Timestamp, c.earliest, c.latest)
	default:
		return nil
	}
}

// noTimestamp is what a record has whose producer gave it none.
const noTimestamp = -1

// maxErrorRecords bounds how many records an answer complains about.
const maxErrorRecords = 100

// note enters a record into the answer.
func (c *recordCheck) note(w *appending, index int32, err error) {
	if c.bad++; c.first == nil {
		c.first = err
	}
	if c.bad > maxErrorRecords {
		return
	}
	bad := kmsg.NewProduceResponseTopicPartitionErrorRecord()
	bad.RelativeOffset, bad.ErrorMessage = index, message(err)
	w.resp.ErrorRecords = append(w.resp.ErrorRecords, bad)
}

func (c *recordCheck) refused(w *appending) error {
	if c.bad == 0 {
		return nil
	}
	return fmt.Errorf("%d records were refused, the first %d of the batch: %w", c.bad, w.resp.ErrorRecords[0].RelativeOffset, c.first)
}

var errStamped = fmt.Errorf("%w: a client may not say that it is that of the append", errInvalidTimestamp)

var errNoKey = fmt.Errorf("%w: compacted topic cannot accept message without key", seglog.ErrInvalidRecord)
