// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/mutant"
)

// keptBatches is how many batches a producer may have in flight, and so how many
// of its last ones can come a second time.
const keptBatches = 5

// producers is what the log knows of idempotent producers, by producer id. It
// belongs to the appender.
type producers struct {
	byID   map[int64]*producer
	expiry int64 // ms
	swept  int64 // ms: when the silent ones were last dropped
}

// A producer is one producer's epoch and its last batches, oldest first.
type producer struct {
	epoch    int16
	lastSeen int64 // ms of wall time; 0: not since the log was opened
	batches  []sequenced
}

// sequenced is what is remembered of one batch.
type sequenced struct {
	first, last  int32 // sequences; first > last where they wrap
	lastOffset   int64
	maxTimestamp int64 // ms
}

// sequenceAfter is the sequence n steps after s: they run from 0 to MaxInt32 and
// then on from 0.
func sequenceAfter(s, n int32) int32 { return int32((int64(s) + int64(n)) & math.MaxInt32) }

// sequenceDistance is how many steps lead from a to b.
func sequenceDistance(a, b int32) int32 { return int32((int64(b) - int64(a)) & math.MaxInt32) }

func newProducers(expiry time.Duration) producers {
	return producers{byID: map[int64]*producer{}, expiry: expiry.Milliseconds()}
}

// check decides on a batch before it is written: it may be appended (nil, nil),
// it is one of the last batches again (its entry), or it must be refused. A
// producer that is not known, be it new or forgotten, may begin with any sequence (KIP-360).
func (ps *producers) check(h *Header) (*sequenced, error) {
	p := ps.byID[h.ProducerID]
	if h.ProducerID < 0 || p == nil {
		return nil, nil
	}
	switch {
	case h.ProducerEpoch < p.epoch:
		return nil, fmt.Errorf("%w: producer %d has epoch %d, the batch %d",
			ErrInvalidProducerEpoch, h.ProducerID, p.epoch, h.ProducerEpoch)
	case h.ProducerEpoch > p.epoch:
		if h.BaseSequence != 0 {
			return nil, fmt.Errorf("%w: producer %d begins epoch %d with sequence %d",
				ErrOutOfOrderSequence, h.ProducerID, h.ProducerEpoch, h.BaseSequence)
		}
		return nil, nil
	}
	first, last := h.BaseSequence, sequenceAfter(h.BaseSequence, h.LastOffsetDelta)
	for i := range p.batches {
		if p.batches[i].first == first && p.batches[i].last == last {
			return &p.batches[i], nil
		}
	}
	newest, oldest := p.batches[len(p.batches)-1], p.batches[0]
	if first == sequenceAfter(newest.last, 1) {
		return nil, nil
	}
	err := ErrOutOfOrderSequence
	if behind := sequenceDistance(last, oldest.first); behind > 0 && behind < math.MaxInt32/2 {
		err = ErrDuplicateSequence
	}
	return nil, fmt.Errorf("%w: producer %d epoch %d sends sequences %d to %d after %d",
		err, h.ProducerID, h.ProducerEpoch, first, last, newest.last)
}

// update takes note of a batch that is in the log; nowMs is 0 in a replay.
func (ps *producers) update(h *Header, nowMs int64) {
	if h.ProducerID < 0 || h.Control() {
		return
	}
	p := ps.byID[h.ProducerID]
	if p == nil {
		p = &producer{batches: make([]sequenced, 0, keptBatches)}
		ps.byID[h.ProducerID] = p
	}
	if p.epoch != h.ProducerEpoch {
		p.epoch, p.batches = h.ProducerEpoch, p.batches[:0]
	}
	if len(p.batches) == keptBatches || len(p.batches) == keptBatches-1 && mutant.On(mutant.ForgetFifthBatch) {
		p.batches = append(p.batches[:0], p.batches[1:]...)
	}
	p.lastSeen = nowMs
	p.batches = append(p.batches, sequenced{
		first: h.BaseSequence, last: sequenceAfter(h.BaseSequence, h.LastOffsetDelta),
		lastOffset: h.LastOffset(), maxTimestamp: h.MaxTimestamp,
	})
}

// sweep forgets producers that were silent for the expiry, at most every tenth of
// it. The time of those found by a replay is not known: it counts from here.
func (ps *producers) sweep(nowMs int64) {
	if nowMs-ps.swept < ps.expiry/10 && nowMs >= ps.swept {
		return
	}
	ps.swept = nowMs
	for id, p := range ps.byID {
		if p.lastSeen == 0 {
			p.lastSeen = nowMs
		}
		if nowMs-p.lastSeen >= ps.expiry {
			delete(ps.byID, id)
		}
	}
}

// The producer snapshot, big endian:
//
//	magic "MRPS" | version uint16 = 1 | offset int64 | producers uint32
//	  each: id int64 | epoch int16 | last seen int64 | batches uint8
//	    each: first int32 | last int32 | last offset int64 | max timestamp int64
//	CRC-32C uint32 of all before
const (
	snapshotMagic    = "MRPS"
	snapshotVersion  = 1
	snapshotHeader   = 18
	snapshotProducer = 19
	snapshotBatch    = 24
)

var errSnapshot = errors.New("malformed producer snapshot")

// encode writes a snapshot of the state before offset.
func (ps *producers) encode(offset int64) []byte {
	be := binary.BigEndian
	b := make([]byte, 0, snapshotHeader+len(ps.byID)*(snapshotProducer+keptBatches*snapshotBatch)+4)
	b = append(b, snapshotMagic...)
	b = be.AppendUint16(b, snapshotVersion)
	b = be.AppendUint64(b, uint64(offset))
	b = be.AppendUint32(b, uint32(len(ps.byID)))
	for _, id := range slices.Sorted(maps.Keys(ps.byID)) {
		p := ps.byID[id]
		b = be.AppendUint64(b, uint64(id))
		b = be.AppendUint16(b, uint16(p.epoch))
		b = be.AppendUint64(b, uint64(p.lastSeen))
		b = append(b, byte(len(p.batches)))
		for _, s := range p.batches {
			b = be.AppendUint32(b, uint32(s.first))
			b = be.AppendUint32(b, uint32(s.last))
			b = be.AppendUint64(b, uint64(s.lastOffset))
			b = be.AppendUint64(b, uint64(s.maxTimestamp))
		}
	}
	return be.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decode replaces the state with a snapshot's, whose offset must be the one given.
func (ps *producers) decode(b []byte, offset int64) error {
	be := binary.BigEndian
	if len(b) < snapshotHeader+4 || string(b[:4]) != snapshotMagic || be.Uint16(b[4:]) != snapshotVersion {
		return errSnapshot
	}
	body, sum := b[:len(b)-4], be.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum || int64(be.Uint64(b[6:])) != offset {
		return errSnapshot
	}
	count, d := be.Uint32(b[14:]), decoder{b: body[snapshotHeader:]}
	byID := map[int64]*producer{}
	for range count {
		head := d.skip(snapshotProducer)
		if d.bad {
			return errSnapshot
		}
		p := &producer{epoch: int16(be.Uint16(head[8:])), lastSeen: int64(be.Uint64(head[10:]))}
		n := int(head[18])
		entries := d.skip(n * snapshotBatch)
		if d.bad || n == 0 || n > keptBatches {
			return errSnapshot
		}
		p.batches = make([]sequenced, n, keptBatches)
		for i := range p.batches {
			e := entries[i*snapshotBatch:]
			p.batches[i] = sequenced{
				int32(be.Uint32(e)), int32(be.Uint32(e[4:])), int64(be.Uint64(e[8:])), int64(be.Uint64(e[16:])),
			}
		}
		byID[int64(be.Uint64(head))] = p
	}
	if len(d.b) != 0 {
		return errSnapshot
	}
	ps.byID = byID
	return nil
}
