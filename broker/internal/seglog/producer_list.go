// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"maps"
	"slices"
)

// A ProducerState is what a log remembers of an idempotent producer, in short.
type ProducerState struct {
	ID            int64
	Epoch         int16
	LastSequence  int32 // of its last record
	LastTimestamp int64 // ms; of its last batch
}

// Producers lists the producers that the log remembers, by id.
func (l *Log) Producers() []ProducerState {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []ProducerState
	for _, id := range slices.Sorted(maps.Keys(l.producers.byID)) {
		p := l.producers.byID[id]
		s := ProducerState{ID: id, Epoch: p.epoch, LastSequence: -1, LastTimestamp: -1}
		if n := len(p.batches); n > 0 {
			s.LastSequence, s.LastTimestamp = p.batches[n-1].last, p.batches[n-1].maxTimestamp
		}
		all = append(all, s)
	}
	return all
}
