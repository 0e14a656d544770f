// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// epochs knows at which offset each leader epoch began (KIP-101, KIP-320). Both
// columns grow strictly. Safe for concurrent use.
type epochs struct {
	mu    sync.RWMutex
	list  []epochStart // guarded by mu
	dirty bool         // guarded by mu: the file lags behind
}

type epochStart struct {
	epoch int32
	start int64 // first offset written in it
}

// latest is the last epoch, -1 if there is none.
func (e *epochs) latest() int32 {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if len(e.list) == 0 {
		return -1
	}
	return e.list[len(e.list)-1].epoch
}

// EpochAt is the leader epoch of the record at offset, -1 if that is not known.
func (l *Log) EpochAt(offset int64) int32 { return l.epochs.at(offset) }

// at is the epoch of the record at offset, -1 if the list begins after it.
func (e *epochs) at(offset int64) int32 {
	e.mu.RLock()
	defer e.mu.RUnlock()
	i := sort.Search(len(e.list), func(i int) bool { return e.list[i].start > offset })
	if i == 0 {
		return -1
	}
	return e.list[i-1].epoch
}

// assign notes that a batch of epoch begins at offset.
func (e *epochs) assign(epoch int32, offset int64) {
	if epoch <= e.latest() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, epochStart{epoch, offset})
	e.dirty = true
}

// endOffset answers an OffsetForLeaderEpoch request as Kafka's
// LeaderEpochFileCache does: the largest epoch known that is not above epoch, and
// where the one after it begins; -1, -1 for an epoch that is not known yet.
func (e *epochs) endOffset(epoch int32, logEnd int64) (int32, int64) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	i := sort.Search(len(e.list), func(i int) bool { return e.list[i].epoch > epoch })
	switch {
	case epoch == -1 || len(e.list) == 0:
		return -1, -1
	case i < len(e.list) && i == 0:
		return epoch, e.list[0].start
	case i < len(e.list):
		return e.list[i-1].epoch, e.list[i].start
	case e.list[i-1].epoch == epoch:
		return epoch, logEnd
	}
	return -1, -1
}

// truncate forgets the epochs that begin at end or after it.
func (e *epochs) truncate(end int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := sort.Search(len(e.list), func(i int) bool { return e.list[i].start >= end })
	e.dirty = e.dirty || i < len(e.list)
	e.list = e.list[:i]
}

// deleteBefore forgets the epochs that ended before start.
func (e *epochs) deleteBefore(start int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := sort.Search(len(e.list), func(i int) bool { return e.list[i].start > start }) - 1
	if i < 0 || i == 0 && e.list[0].start == start {
		return
	}
	e.list = append([]epochStart(nil), e.list[i:]...)
	e.list[0].start = start
	e.dirty = true
}

// encodeDirty writes Kafka's text format if anything changed since it did so
// last: version 0, the count, then an epoch and its start a line.
func (e *epochs) encodeDirty() (b []byte, dirty bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.dirty {
		return nil, false
	}
	e.dirty = false
	b = fmt.Appendf(nil, "0\n%d\n", len(e.list))
	for _, s := range e.list {
		b = fmt.Appendf(b, "%d %d\n", s.epoch, s.start)
	}
	return b, true
}

func (e *epochs) markDirty() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dirty = true
}

func decodeEpochs(b []byte) ([]epochStart, error) {
	lines := strings.Split(string(b), "\n")
	if len(lines) < 3 || lines[0] != "0" || lines[len(lines)-1] != "" {
		return nil, errors.New("malformed leader epoch file")
	}
	body := lines[2 : len(lines)-1]
	if lines[1] != strconv.Itoa(len(body)) {
		return nil, fmt.Errorf("leader epoch file announces %q entries, has %d", lines[1], len(body))
	}
	list := make([]epochStart, 0, len(body))
	for _, line := range body {
		epoch, start, _ := strings.Cut(line, " ")
		ep, err1 := strconv.ParseInt(epoch, 10, 32)
		off, err2 := strconv.ParseInt(start, 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("leader epoch file: %w", err)
		}
		s := epochStart{int32(ep), off}
		if n := len(list); s.epoch < 0 || s.start < 0 || n > 0 && (list[n-1].epoch >= s.epoch || list[n-1].start >= s.start) {
			return nil, fmt.Errorf("leader epoch file: entry %q is out of order", line)
		}
		list = append(list, s)
	}
	return list, nil
}
