// SPDX-License-Identifier: Apache-2.0

package seglog

import "time"

// Tuning is the part of a [Config] that may change while the log is open. The
// zero value of a field means the default of the field of Config with its name.
type Tuning struct {
	SegmentBytes       int64
	SegmentAge         time.Duration
	IndexIntervalBytes int
	MaxIndexBytes      int
	Flush              FlushPolicy
	LogAppendTime      bool
	FileDeleteDelay    time.Duration
}

// With returns c with what t says.
func (c Config) With(t Tuning) Config {
	c.SegmentBytes, c.SegmentAge = t.SegmentBytes, t.SegmentAge
	c.IndexIntervalBytes, c.MaxIndexBytes = t.IndexIntervalBytes, t.MaxIndexBytes
	c.Flush, c.LogAppendTime, c.FileDeleteDelay = t.Flush, t.LogAppendTime, t.FileDeleteDelay
	return c
}

// Tuning is what holds now.
func (l *Log) Tuning() Tuning {
	if t := l.tuned.Load(); t != nil {
		return *t
	}
	c := &l.cfg
	return Tuning{c.SegmentBytes, c.SegmentAge, c.IndexIntervalBytes, c.MaxIndexBytes, c.Flush, c.LogAppendTime, c.FileDeleteDelay}
}

// Tune changes the log's configuration from the next append on. Segments that
// exist keep the interval of their indexes. On an error nothing has changed.
func (l *Log) Tune(t Tuning) error {
	c, err := l.cfg.With(t).withDefaults()
	if err != nil {
		return err
	}
	t = Tuning{c.SegmentBytes, c.SegmentAge, c.IndexIntervalBytes, c.MaxIndexBytes, c.Flush, c.LogAppendTime, c.FileDeleteDelay}
	l.tuned.Store(&t)
	return nil
}
