// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/state"
)

// What a task knows of time is committed in the metadata of its offsets, a string
// of at most 4096 bytes on a broker with default settings: in base64
//
//	magic 2 bytes | version 1 | partition time | stream time | count uint16 | count * (name, time)
//
// with times as int64 in ms and names as their FNV-1a hash in 8 bytes, big endian:
// those of operators, and those of stores whose rows expire, which storeTime makes. Under
// the names that storeForm makes stand the forms of stores in place of times, as many as
// there is room for.
// Every input has the task's part; the highest of what is found counts.
const (
	timesMagic   = "Mr"
	timesVersion = 1
	timesHead    = len(timesMagic) + 1 + 8 + 8 + 2
	maxObserved  = 180 // in one task, stores included: so that the string fits
)

// An Origin is where an input stands at the start of a task.
type Origin struct {
	Position
	Metadata string // as committed with it; what is not the engine's is ignored
}

// takeUp goes on with the times that were committed with the offsets.
func (t *Task) takeUp(starts map[string]Origin) {
	for topic, start := range starts {
		in := t.byTopic[topic]
		if in == nil {
			continue
		}
		in.next = start.Position
		m, ok := decodeTimes(start.Metadata)
		if !ok {
			continue
		}
		t.resumed = true
		in.time = m.partition
		t.streamTime = max(t.streamTime, m.stream)
		for name, at := range m.observed {
			if old, ok := t.found[name]; !ok || at > old {
				t.found[name] = at
			}
		}
	}
}

// resume sets the times of stores back to the last commit: what changelogs say beyond
// it comes from records that are processed again, and would be late. Offsets without
// metadata of ours were set by somebody else, and say nothing: then the changelogs
// are believed.
func (t *Task) resume() {
	if !t.fresh && !t.resumed {
		return
	}
	for _, s := range t.timedStores() {
		at, ok := t.found[hashName(storeTime(s.Name()))]
		if !ok {
			at = state.NoTime
		}
		s.Resume(at)
	}
}

// timedStores lists the stores whose rows expire.
func (t *Task) timedStores() []state.Timed {
	var list []state.Timed
	for _, s := range t.stores {
		if s, ok := s.(state.Timed); ok {
			list = append(list, s)
		}
	}
	return list
}

// storeTime is the name of a store's time: no node has one with a space.
func storeTime(store string) string { return "store " + store }

func (t *Task) observed(name string) *int64 {
	at := t.times[name]
	if at == nil {
		at = new(int64)
		*at = plan.NoTime
		if was, ok := t.found[hashName(name)]; ok {
			*at = was
		}
		t.times[name] = at
	}
	return at
}

func hashName(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return h.Sum64()
}

type committedTimes struct {
	partition, stream int64
	observed          map[uint64]int64
}

// metadata is what is committed with an input's offset.
func (t *Task) metadata(in *input) string {
	times := make(map[string]int64, len(t.times)+len(t.stores))
	for name, at := range t.times {
		times[name] = *at
	}
	for _, s := range t.timedStores() {
		times[storeTime(s.Name())] = s.ObservedTime()
	}
	for _, s := range t.stores {
		if len(times) < maxObserved {
			times[storeForm(s.Name())] = formOf(s)
		}
	}
	b := make([]byte, 0, timesHead+16*len(times))
	b = append(b, timesMagic...)
	b = append(b, timesVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(in.time))
	b = binary.BigEndian.AppendUint64(b, uint64(t.streamTime))
	b = binary.BigEndian.AppendUint16(b, uint16(len(times)))
	for _, name := range slices.Sorted(maps.Keys(times)) {
		b = binary.BigEndian.AppendUint64(b, hashName(name))
		b = binary.BigEndian.AppendUint64(b, uint64(times[name]))
	}
	return base64.StdEncoding.EncodeToString(b)
}

// decodeTimes reads metadata. false: it is not of this engine, or of a later version.
func decodeTimes(s string) (m committedTimes, ok bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) < timesHead || string(b[:2]) != timesMagic || b[2] != timesVersion {
		return m, false
	}
	m.partition = int64(binary.BigEndian.Uint64(b[3:]))
	m.stream = int64(binary.BigEndian.Uint64(b[11:]))
	n, rest := int(binary.BigEndian.Uint16(b[19:])), b[timesHead:]
	if len(rest) != 16*n {
		return committedTimes{}, false
	}
	m.observed = make(map[uint64]int64, n)
	for ; n > 0; n, rest = n-1, rest[16:] {
		m.observed[binary.BigEndian.Uint64(rest)] = int64(binary.BigEndian.Uint64(rest[8:]))
	}
	return m, true
}
