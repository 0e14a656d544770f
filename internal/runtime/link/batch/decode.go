// SPDX-License-Identifier: Apache-2.0

// Package batch reads and writes record batches of Kafka's format 2 (KIP-98): straight
// from the bytes of a fetch into the engine's records, and from what the engine appends
// straight into the bytes that are sent.
package batch

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/plan"
)

// A batch, big endian:
//
//	 0 base offset int64 | 8 length int32 | 12 leader epoch int32 | 16 magic int8
//	17 crc uint32 | 21 attributes int16 | 23 last offset delta int32
//	27 first timestamp int64 | 35 max timestamp int64
//	43 producer id int64 | 51 producer epoch int16 | 53 base sequence int32 | 57 records int32
const (
	headBytes = 61
	// lengthAfter is where what the length counts begins.
	lengthAfter = 12
	magicAt     = 16
)

const (
	magic = 2

	attrCodec         = 0x07
	attrLogTime       = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
)

// RecordCost is the memory of a record besides its bytes.
const RecordCost = 96

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	// ErrFormat says that a batch is of an older format, which brokers before 4.0 may
	// still have on their disks.
	ErrFormat = errors.New("a batch of an older format")
	// ErrCorrupt says that bytes are not what a batch must be.
	ErrCorrupt = errors.New("a corrupt batch")
)

// A Fetched is what Decode made of the bytes of a fetch.
type Fetched struct {
	Records []plan.Raw // in the order of offsets
	Next    int64      // the offset after the last batch, or where it began
	Epoch   int32      // leader epoch of the last batch, -1 if there is none
	Bytes   int64      // about the memory of Records
	// Stored is how many bytes there were of the batches, Memory what they took when decoded.
	Stored, Memory int
}

// Decode reads the batches of a fetch from an offset on. What lies before the offset,
// markers of transactions and records of those that were aborted are left out, as is an
// incomplete batch at the end. The records' bytes are those of src, unless they were
// compressed. After an error, [ErrCorrupt] or [ErrFormat], what came before it is good.
func Decode(src []byte, from int64, aborted []kmsg.FetchResponseTopicPartitionAbortedTransaction, decomp kgo.Decompressor) (Fetched, error) {
	f := Fetched{Next: from, Epoch: -1}
	var open aborts
	if len(aborted) > 0 {
		open.left = slices.Clone(aborted)
		slices.SortFunc(open.left, func(a, b kmsg.FetchResponseTopicPartitionAbortedTransaction) int {
			return cmp.Compare(a.FirstOffset, b.FirstOffset)
		})
	}
	f.Records = make([]plan.Raw, 0, count(src))
	for len(src) > lengthAfter {
		n := lengthAfter + int64(int32(binary.BigEndian.Uint32(src[8:])))
		if n > int64(len(src)) {
			break
		}
		if n > magicAt && src[magicAt] != magic {
			return f, ErrFormat
		}
		if n < headBytes {
			return f, fmt.Errorf("%w at offset %d: it is %d bytes long", ErrCorrupt, f.Next, n)
		}
		h := head(src[:headBytes:headBytes])
		if err := f.add(h, src[headBytes:n:n], from, &open, decomp); err != nil {
			return f, fmt.Errorf("%w at offset %d: %w", ErrCorrupt, h.base(), err)
		}
		src = src[n:]
	}
	return f, nil
}

// count is how many records the whole batches of a fetch say that they have, never more
// than there is room for.
func count(src []byte) int {
	records := 0
	for len(src) >= headBytes {
		n := lengthAfter + int64(int32(binary.BigEndian.Uint32(src[8:])))
		if n < headBytes || n > int64(len(src)) {
			break
		}
		h := head(src[:headBytes])
		if h.attributes()&(attrControl|attrCodec) == 0 {
			records += min(int(h.records()), int(n-headBytes)/leastRecord)
		}
		src = src[n:]
	}
	return records
}

// leastRecord is the size of a record without anything in it, leastHeader that of a header.
const (
	leastRecord = 7
	leastHeader = 2
)

// head is the head of a batch.
type head []byte

func (h head) base() int64       { return int64(binary.BigEndian.Uint64(h)) }
func (h head) epoch() int32      { return int32(binary.BigEndian.Uint32(h[12:])) }
func (h head) sum() uint32       { return binary.BigEndian.Uint32(h[17:]) }
func (h head) attributes() int   { return int(binary.BigEndian.Uint16(h[21:])) }
func (h head) after() int64      { return h.base() + int64(int32(binary.BigEndian.Uint32(h[23:]))) + 1 }
func (h head) firstTime() int64  { return int64(binary.BigEndian.Uint64(h[27:])) }
func (h head) latestTime() int64 { return int64(binary.BigEndian.Uint64(h[35:])) }
func (h head) producer() int64   { return int64(binary.BigEndian.Uint64(h[43:])) }
func (h head) records() uint32   { return binary.BigEndian.Uint32(h[57:]) }

// add takes a batch.
func (f *Fetched) add(h head, body []byte, from int64, open *aborts, decomp kgo.Decompressor) error {
	if sum := crc32.Update(crc32.Checksum(h[21:], castagnoli), castagnoli, body); sum != h.sum() {
		return errors.New("its checksum is wrong")
	}
	after := h.after()
	if after <= h.base() {
		return errors.New("its offsets go backwards")
	}
	stored := headBytes + len(body)
	skip := open.hides(h, body) // looks at markers as well
	if after <= from {
		return nil // a compacted log may begin a fetch before what was asked for
	}
	if !skip {
		if codec := h.attributes() & attrCodec; codec != 0 {
			var err error
			if body, err = decomp.Decompress(body, kgo.CompressionCodecType(codec)); err != nil {
				return fmt.Errorf("decompress it: %w", err)
			}
			f.Records = slices.Grow(f.Records, int(min(int64(h.records()), int64(len(body)/leastRecord))))
		}
		before := len(f.Records)
		if err := f.records(h, body, max(from, f.Next)); err != nil {
			f.Records = f.Records[:before]
			return err
		}
		f.Bytes += RecordCost * int64(len(f.Records)-before)
		for i := before; i < len(f.Records); i++ {
			f.Bytes += int64(len(f.Records[i].Key) + len(f.Records[i].Value))
			for _, h := range f.Records[i].Headers {
				f.Bytes += int64(len(h.Key) + len(h.Value))
			}
		}
		f.Stored += stored
		f.Memory += len(body) + RecordCost*(len(f.Records)-before)
	}
	f.Next, f.Epoch = max(f.Next, after), h.epoch()
	return nil
}

func (f *Fetched) records(h head, src []byte, from int64) error {
	base, epoch, first := h.base(), h.epoch(), h.firstTime()
	logTime := h.attributes()&attrLogTime != 0
	for range h.records() {
		r := reader{src: src}
		length := r.varint()
		if r.failed || length < 0 || length > int64(len(r.src)) {
			return errShort
		}
		src = r.src[length:]
		r.src = r.src[:length]
		r.skip(1) // attributes, of which there are none
		raw := plan.Raw{Timestamp: first + r.varint(), Offset: base + r.varint(), Epoch: epoch}
		if logTime {
			raw.Timestamp = h.latestTime()
		}
		raw.Key, raw.Value = r.bytes(), r.bytes()
		n := r.varint()
		if n < 0 || n > int64(len(r.src)/leastHeader) {
			return errShort
		}
		if n > 0 {
			raw.Headers = make([]plan.Header, n)
			for i := range raw.Headers {
				raw.Headers[i].Key, raw.Headers[i].Value = string(r.bytes()), r.bytes()
			}
		}
		if r.failed {
			return errShort
		}
		if raw.Offset >= from {
			f.Records = append(f.Records, raw)
		}
	}
	return nil
}

var errShort = errors.New("it is shorter than it says")

// aborts are transactions that were aborted, while their batches go by in the order of
// offsets.
type aborts struct {
	left []kmsg.FetchResponseTopicPartitionAbortedTransaction // by first offset, not yet begun
	open map[int64]bool                                       // by producer
}

// hides says that a batch is none of the application's: a marker, or of an aborted
// transaction.
func (a *aborts) hides(h head, body []byte) bool {
	attrs := h.attributes()
	for len(a.left) > 0 && a.left[0].FirstOffset < h.after() {
		if a.open == nil {
			a.open = map[int64]bool{}
		}
		a.open[a.left[0].ProducerID] = true
		a.left = a.left[1:]
	}
	if attrs&attrControl != 0 {
		if attrs&attrTransactional != 0 && marker(body) == markerAbort {
			delete(a.open, h.producer())
		}
		return true
	}
	return attrs&attrTransactional != 0 && a.open[h.producer()]
}

const markerAbort = 0

// marker is what the first record of a control batch says: version int16 and type int16 are
// its key. -1 if it can't be read.
func marker(body []byte) int {
	r := reader{src: body}
	r.varint()
	r.skip(1)
	r.varint()
	r.varint()
	key := r.bytes()
	if r.failed || len(key) < 4 {
		return -1
	}
	return int(binary.BigEndian.Uint16(key[2:]))
}

// reader reads the fields of a record.
type reader struct {
	src    []byte
	failed bool
}

func (r *reader) varint() int64 {
	if len(r.src) > 0 && r.src[0] < 0x80 { // most are short
		u := uint64(r.src[0])
		r.src = r.src[1:]
		return int64(u>>1) ^ -int64(u&1)
	}
	v, n := binary.Varint(r.src)
	if n <= 0 {
		r.failed = true
		return 0
	}
	r.src = r.src[n:]
	return v
}

func (r *reader) skip(n int) {
	if n > len(r.src) {
		r.failed = true
		return
	}
	r.src = r.src[n:]
}

// bytes are nil where the length is -1.
func (r *reader) bytes() []byte {
	n := r.varint()
	if n < 0 {
		return nil
	}
	if n > int64(len(r.src)) {
		r.failed = true
		return nil
	}
	b := r.src[:n:n]
	r.src = r.src[n:]
	return b
}
