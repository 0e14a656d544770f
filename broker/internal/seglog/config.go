// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"errors"
	"log/slog"
	"math"
	"time"

	"github.com/millrace/millrace/internal/vfs"
)

// Config is what a log needs to know. The zero value of a field means the
// default in its comment, which is Kafka's own where Kafka has one.
type Config struct {
	FS                 vfs.FS        // required: the disk
	Dir                string        // required: the folder of this partition's log, of nobody else's
	SegmentBytes       int64         // 1 GiB, at most 2 GiB-1: a batch that would make the active segment longer rolls it
	SegmentAge         time.Duration // 7 days (segment.ms): an older active segment is rolled by the next append
	IndexIntervalBytes int           // 4096: bytes of log between two entries of the indexes
	MaxIndexBytes      int           // 10 MiB (segment.index.bytes): an active segment with a longer index is rolled by the next append
	LogAppendTime      bool          // records get the time of their append instead of their own
	MaxBatchBytes      int           // 100 MiB (socket.request.max.bytes): longer batches are refused, and are damage when read
	Flush              FlushPolicy   // zero value: the page cache
	ProducerExpiry     time.Duration // 24 h (producer.id.expiration.ms): silence after which a producer is forgotten
	FileDeleteDelay    time.Duration // none (file.delete.delay.ms: 60 s): how long the file of a removed segment stays
	Handles            *Handles      // of its own, with room for 64: what bounds the open files of this log and others
	Logger             *slog.Logger  // none: nothing is logged

	// OnFlush is told how long each sync took and how it ended. It may be called
	// from many goroutines and must not block. None: nobody is told.
	OnFlush func(took time.Duration, err error)
}

// A FlushMode says what may be told to a producer when.
type FlushMode uint8

const (
	// FlushOS leaves writing to the operating system, as Kafka does by default: an
	// acknowledged batch survives the death of the process. A crash of the machine
	// can cost what was not written yet, which is always a suffix of the log.
	FlushOS FlushMode = iota
	// FlushBatch wants Flush before the acknowledgement: an acknowledged batch
	// survives a crash of the machine. Waiting producers share one fsync.
	FlushBatch
	// FlushInterval acknowledges as FlushOS does; the log syncs itself one Interval
	// after the first batch that is not synced. A crash costs at most the last Interval.
	FlushInterval
)

// A FlushPolicy is a mode and, for FlushInterval, the interval.
//
// Under FlushBatch the caller waits for [Log.Flush] before it acknowledges:
// Append itself never waits. Under the others it need not.
type FlushPolicy struct {
	Mode     FlushMode
	Interval time.Duration // 1 s; only of FlushInterval
}

// withDefaults checks c and fills in what is not set.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	if c.FS == nil {
		errs = append(errs, errors.New("config: FS is not set"))
	}
	if c.Dir == "" {
		errs = append(errs, errors.New("config: Dir is not set"))
	}
	setDefault(&c.SegmentBytes, 1<<30)
	c.SegmentBytes = min(c.SegmentBytes, math.MaxInt32)
	setDefault(&c.SegmentAge, 7*24*time.Hour)
	setDefault(&c.IndexIntervalBytes, 4096)
	setDefault(&c.MaxIndexBytes, 10<<20)
	setDefault(&c.MaxBatchBytes, 100<<20)
	setDefault(&c.Flush.Interval, time.Second)
	setDefault(&c.ProducerExpiry, 24*time.Hour)
	if c.Handles == nil {
		c.Handles = NewHandles(64)
	}
	if c.OnFlush == nil {
		c.OnFlush = func(time.Duration, error) {}
	}
	if c.SegmentBytes < 0 || c.SegmentAge < 0 || c.IndexIntervalBytes < 0 || c.MaxIndexBytes < 0 || c.MaxBatchBytes < 0 ||
		c.Flush.Interval < 0 || c.ProducerExpiry < 0 || c.FileDeleteDelay < 0 {
		errs = append(errs, errors.New("config: a size or a duration is negative"))
	}
	if c.Flush.Mode > FlushInterval {
		errs = append(errs, errors.New("config: unknown flush mode"))
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(errs...)
}

func setDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}
