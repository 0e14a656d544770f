// SPDX-License-Identifier: Apache-2.0

//go:build rocksdb

package rocksdb

import (
	"encoding/binary"
	"sync"

	"github.com/linxGnu/grocksdb"
)

// Kinds of entries of a write batch (WriteBatch and ValueType in RocksDB's dbformat.h):
// those that name their column family.
const (
	entryDelete      = 0x04
	entryPut         = 0x05
	entryDeleteRange = 0x0e
)

// batchHead is what a write batch begins with: sequence number uint64 | entries uint32,
// little endian. The number is given when the batch is written.
const batchHead = 8 + 4

// A batch is a write batch as RocksDB holds one in memory, of one family: a head, and
// for each entry
//
//	kind | family | length, key | length, value or end of the range
//
// with numbers as varints. So a batch costs one call of the library, and not one each
// entry.
type batch struct {
	family uint32
	n      uint32
	data   []byte
}

// mostSpare is how large a batch may have become for its memory to be kept.
const mostSpare = 8 << 20

// batches keeps the memory of batches for the next ones.
var batches = sync.Pool{New: func() any { return new(batch) }}

func newBatch(family uint32) *batch {
	b := batches.Get().(*batch)
	b.family, b.n, b.data = family, 0, append(b.data[:0], make([]byte, batchHead)...)
	return b
}

// release gives the batch's memory back.
func (b *batch) release() {
	if cap(b.data) <= mostSpare {
		batches.Put(b)
	}
}

// entry begins an entry with its key.
func (b *batch) entry(kind byte, key []byte) {
	b.n++
	b.data = binary.AppendUvarint(append(b.data, kind), uint64(b.family))
	b.bytes(dataKey, key)
}

// bytes adds a key of the base behind the kind of what lies under it.
func (b *batch) bytes(kind byte, key []byte) {
	b.data = append(binary.AppendUvarint(b.data, uint64(len(key)+1)), kind)
	b.data = append(b.data, key...)
}

func (b *batch) delete(key []byte) { b.entry(entryDelete, key) }

func (b *batch) put(key, value []byte) {
	b.entry(entryPut, key)
	b.value(value)
}

func (b *batch) deleteRange(lower, upper []byte) {
	b.entry(entryDeleteRange, lower)
	b.bytes(dataKey, upper)
}

// header sets what lies under the header's key.
func (b *batch) header(value []byte) {
	b.n++
	b.data = binary.AppendUvarint(append(b.data, entryPut), uint64(b.family))
	b.data = append(b.data, 1, headerKey)
	b.value(value)
}

func (b *batch) value(value []byte) {
	b.data = append(binary.AppendUvarint(b.data, uint64(len(value))), value...)
}

// native copies the batch into the library, whose caller destroys it.
func (b *batch) native() *grocksdb.WriteBatch {
	binary.LittleEndian.PutUint32(b.data[8:], b.n)
	return grocksdb.WriteBatchFrom(b.data)
}
