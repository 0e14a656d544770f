// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// A keyHash stands for a key: 128 bits of a keyed SHA-256, so that no producer
// can make two keys that are taken for one, and chance will not either.
type keyHash [16]byte

// A keyMap knows the latest offset of each key, for as many keys as it has room
// for. It is an open table without deletion, as Kafka's SkimpyOffsetMap.
type keyMap struct {
	slots []keySlot
	keys  int
	seed  [16]byte
	hash  hash.Hash
	sum   [sha256.Size]byte
}

type keySlot struct {
	key   keyHash
	after int64 // the offset after the key's latest; 0: the slot is free
}

const (
	keySlotBytes = 24
	keptSlots    = 4096 // of the table from one compaction to the next
)

func newKeyMap() *keyMap {
	m := &keyMap{hash: sha256.New()}
	rand.Read(m.seed[:])
	return m
}

// reset empties the map and gives it room for keys, in at most maxBytes.
func (m *keyMap) reset(keys, maxBytes int64) {
	n := max(min(keys+keys/2, maxBytes/keySlotBytes), 16)
	if int64(cap(m.slots)) >= n {
		m.slots = m.slots[:n]
		clear(m.slots)
	} else {
		m.slots = make([]keySlot, n)
	}
	m.keys = 0
}

// shrink gives a long table back.
func (m *keyMap) shrink() {
	if cap(m.slots) > keptSlots {
		m.slots = nil
	}
}

// room is how many more keys fit: a table nine tenths full is full.
func (m *keyMap) room() int { return len(m.slots)/10*9 - m.keys }

func (m *keyMap) of(key []byte) keyHash {
	m.hash.Reset()
	m.hash.Write(m.seed[:])
	m.hash.Write(key)
	return keyHash(m.hash.Sum(m.sum[:0])[:16])
}

func (m *keyMap) slot(k keyHash) *keySlot {
	for i := binary.LittleEndian.Uint64(k[:]) % uint64(len(m.slots)); ; i = (i + 1) % uint64(len(m.slots)) {
		if s := &m.slots[i]; s.after == 0 || s.key == k {
			return s
		}
	}
}

// put notes that k is at offset, which is not below any put before.
func (m *keyMap) put(k keyHash, offset int64) {
	s := m.slot(k)
	if s.after == 0 {
		m.keys++
	}
	s.key, s.after = k, offset+1
}

// latest is the latest offset of k, -1 if it is not known.
func (m *keyMap) latest(k keyHash) int64 { return m.slot(k).after - 1 }
