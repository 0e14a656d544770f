// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
)

// The user data of members and of assignments are written alike:
//
//	version byte | field | field | ...
//	field = tag uvarint | length uvarint | payload
//
// A reader skips the tags that it does not know and what follows the part of a
// payload that it knows, so later versions may add both. Entries of lists have a
// length of their own for the same reason. Within one version nothing else changes;
// a change that an older reader would misunderstand is a new protocol name.
const formatVersion = 1

// ErrFormat says that user data is not what a member of this protocol writes.
var ErrFormat = errors.New("user data of the group protocol is malformed")

// maxTasks bounds the tasks that one message can name, however few bytes it has.
const maxTasks = 1 << 18

func appendField(dst []byte, tag uint64, payload []byte) []byte {
	dst = binary.AppendUvarint(dst, tag)
	return appendBytes(dst, payload)
}

func appendBytes(dst, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// A reader takes user data apart. The first thing that does not fit makes all that
// follows read as zero.
type reader struct {
	b   []byte
	bad bool
	set int // elements of sets that were read
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a number of things that take at least a byte each.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

// bytes reads a slice with its length. It aliases the input.
func (r *reader) bytes() []byte {
	n := r.count()
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) string() string { return string(r.bytes()) }

// entry reads one entry of a list and gives a reader of it.
func (r *reader) entry() *reader { return &reader{b: r.bytes(), set: r.set} }

// end takes over what became of an entry's reader.
func (r *reader) end(e *reader) {
	r.set = e.set
	if e.bad {
		r.fail()
	}
}

func (r *reader) fail() { r.bad, r.b = true, nil }

// fields calls do for each field of a message.
func fields(b []byte, do func(tag uint64, r *reader)) error {
	if len(b) == 0 || b[0] == 0 {
		return ErrFormat
	}
	r := &reader{b: b[1:]}
	for len(r.b) > 0 {
		tag := r.uvarint()
		e := r.entry()
		do(tag, e)
		r.end(e)
	}
	if r.bad {
		return ErrFormat
	}
	return nil
}

// appendSet appends a set of partitions, ascending, as runs or as bits, whichever
// is shorter:
//
//	runs<<1   | (gap since the last run, length) uvarints ...
//	bytes<<1|1 | bits, the lowest partition in the lowest bit
func appendSet(dst []byte, set []int32) []byte {
	runs, n, next := []byte(nil), uint64(0), int32(0)
	for i := 0; i < len(set); n++ {
		j := i + 1
		for j < len(set) && set[j] == set[j-1]+1 {
			j++
		}
		runs = binary.AppendUvarint(runs, uint64(set[i]-next))
		runs = binary.AppendUvarint(runs, uint64(j-i))
		next = set[j-1] + 1
		i = j
	}
	if size := int(next+7) / 8; size < len(runs) {
		bits := make([]byte, size)
		for _, p := range set {
			bits[p/8] |= 1 << (p % 8)
		}
		return append(binary.AppendUvarint(dst, uint64(size)<<1|1), bits...)
	}
	return append(binary.AppendUvarint(dst, n<<1), runs...)
}

// readSet reads what appendSet has written.
func (r *reader) readSet() []int32 {
	head := r.uvarint()
	var set []int32
	if head&1 == 1 {
		if head>>1 > uint64(len(r.b)) {
			r.fail()
			return nil
		}
		bits := r.b[:head>>1]
		r.b = r.b[head>>1:]
		for i, b := range bits {
			for k := range 8 {
				if b>>k&1 == 1 {
					set = append(set, int32(i*8+k))
				}
			}
		}
		r.take(len(set))
		return set
	}
	next := uint64(0)
	for range head >> 1 {
		gap, length := r.uvarint(), r.uvarint()
		if r.bad || gap > math.MaxInt32 || length > maxTasks || length == 0 || next+gap+length > math.MaxInt32 {
			r.fail()
			return nil
		}
		next += gap
		if !r.take(int(length)) {
			return nil
		}
		set = slices.Grow(set, int(length))
		for range length {
			set = append(set, int32(next))
			next++
		}
	}
	return set
}

// take counts elements off from what a message may have.
func (r *reader) take(n int) bool {
	if r.set += n; r.set > maxTasks {
		r.fail()
		return false
	}
	return true
}

// appendTasks appends tasks, which are in order, as sets by sub-topology.
func appendTasks(dst []byte, tasks []TaskID, name func(dst []byte, sub string) []byte) []byte {
	groups := bySub(tasks)
	dst = binary.AppendUvarint(dst, uint64(len(groups)))
	for _, g := range groups {
		dst = name(dst, g[0].Sub)
		dst = appendSet(dst, partitionsOf(g))
	}
	return dst
}

// tasks reads what appendTasks has written. A sub-topology comes once.
func (r *reader) tasks(name func(r *reader) string) []TaskID {
	var tasks []TaskID
	read := map[string]bool{}
	for range r.count() {
		sub := name(r)
		if read[sub] {
			r.fail()
			return nil
		}
		read[sub] = true
		for _, n := range r.readSet() {
			tasks = append(tasks, TaskID{sub, n})
		}
	}
	return tasks
}

// bySub cuts tasks, which are in order, into those of one sub-topology each.
func bySub(tasks []TaskID) [][]TaskID {
	var groups [][]TaskID
	for i := 0; i < len(tasks); {
		j := i + 1
		for j < len(tasks) && tasks[j].Sub == tasks[i].Sub {
			j++
		}
		groups = append(groups, tasks[i:j])
		i = j
	}
	return groups
}

func partitionsOf(tasks []TaskID) []int32 {
	set := make([]int32, len(tasks))
	for i, t := range tasks {
		set[i] = t.Partition
	}
	return set
}
