// SPDX-License-Identifier: Apache-2.0

package state

// A Write is one change of a base: Value under Key, or nothing under Key if Delete,
// or nothing under all keys of [Key, Value) if Range.
type Write struct {
	Key, Value []byte
	Delete     bool
	Range      bool
}

// Writes is a list of changes that a base takes in one atomic step. It refers to
// the slices given to it and copies none: they must stay as they are until the
// base's Apply or Load has returned. Of several writes to a key the last counts.
// The zero value is ready. Not safe for concurrent use.
type Writes struct {
	list   []Write
	bytes  int64
	ranges bool
}

// Put adds a change of key to value.
func (w *Writes) Put(key, value []byte) {
	w.list = append(w.list, Write{Key: key, Value: value})
	w.bytes += int64(len(key) + len(value))
}

// Delete adds the removal of key.
func (w *Writes) Delete(key []byte) {
	w.list = append(w.list, Write{Key: key, Delete: true})
	w.bytes += int64(len(key))
}

// DeleteRange adds the removal of all keys of [lower, upper). Not for a Load.
func (w *Writes) DeleteRange(lower, upper []byte) {
	w.list = append(w.list, Write{Key: lower, Value: upper, Range: true})
	w.bytes += int64(len(lower) + len(upper))
	w.ranges = true
}

// Ranges tells whether there is a DeleteRange among the changes.
func (w *Writes) Ranges() bool { return w.ranges }

// Len is the number of changes.
func (w *Writes) Len() int { return len(w.list) }

// Bytes is the length of all keys and values.
func (w *Writes) Bytes() int64 { return w.bytes }

// List gives the changes in the order in which they were added. It is valid until
// the next call of another method.
func (w *Writes) List() []Write { return w.list }

// Reset empties w and keeps its memory.
func (w *Writes) Reset() {
	clear(w.list)
	w.list, w.bytes, w.ranges = w.list[:0], 0, false
}
