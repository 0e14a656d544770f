// SPDX-License-Identifier: Apache-2.0

package state

// A Base holds the committed bytes of one store, ordered by key (bytes compared
// as unsigned). Reads and iterators may run concurrently with each other and with
// the writer; Apply, Load and Flush are called by one goroutine at a time. A base
// keeps no slice given to it. After Close of its DB each method answers [ErrClosed].
type Base interface {
	// AppendGet appends the value of key to dst. ok is false if there is none.
	AppendGet(dst, key []byte) (_ []byte, ok bool, err error)
	// MultiGet looks up many keys in one call and calls each once for every key, in
	// the order of keys. value is valid only during the call.
	MultiGet(keys [][]byte, each func(i int, value []byte, ok bool)) error
	// Iterate opens an iterator over the keys of [lower, upper); nil leaves an end
	// open. It sees the base as it was at this call, and must be closed.
	Iterate(lower, upper []byte, o Order) (Iterator, error)
	// Apply makes all of w and the header take effect, atomically. Neither is
	// durable before Flush, but a crash never keeps one without the other.
	Apply(w *Writes, h Header) error
	// Load is Apply for the bulk of a restore: w is sorted by key and holds each
	// key once, and no ranges. It may be durable at once.
	Load(w *Writes, h Header) error
	// Header gives the header of the last Apply or Load; false if there was none.
	Header() (Header, bool, error)
	// Flush makes all that was applied durable.
	Flush() error
	// Unflushed is about how many bytes were applied since the last Flush.
	Unflushed() int64
	// Checkpoint writes a consistent, durable copy of the whole DB that the base is
	// part of to the folder dir, which must not exist; files are linked where the
	// file system can. errors.ErrUnsupported if the backend keeps no files.
	Checkpoint(dir string) error
}

// A Budgeted is a [Backend] whose caches can be parts of a [Budget].
type Budgeted interface {
	Backend
	// UseBudget sets the memory that the DBs share, about so many, to the parts of b,
	// unless options of the backend's say otherwise. It is called before the first Open;
	// later it does nothing.
	UseBudget(b *Budget, dbs int)
}

// An Order is the direction of a scan.
type Order bool

// The two directions.
const (
	Forward  Order = false // smallest key first
	Backward Order = true  // greatest key first
)

// An Iterator walks over the entries of a base. It starts before the first one. It
// belongs to one goroutine.
type Iterator interface {
	// Next goes to the next entry. False means the end, or an error: see Err.
	Next() bool
	// Key is the entry's key, valid until Next or Close.
	Key() []byte
	// Value is the entry's value, valid until Next or Close.
	Value() []byte
	// Err is what ended the walk early, nil at the plain end.
	Err() error
	// Close frees what the iterator holds. A second call does nothing.
	Close() error
}

// A DB holds the stores of one task.
type DB interface {
	// Base gives the base of a store, making it if it is not there yet. Calls with
	// the same name give the same base. Not for concurrent use.
	Base(name string) (Base, error)
	// Close makes what was applied durable, waits for the reads and iterators of
	// other goroutines, and frees all. The first failure is returned, and all is
	// freed all the same. A second call does nothing.
	Close() error
}

// A Backend opens the DBs of tasks. Its methods may be called concurrently, but
// for Close.
type Backend interface {
	// String names the kind: "memory", "rocksdb", "pebble".
	String() string
	// Dir is the root folder, "" if nothing survives the process.
	Dir() string
	// Open opens the DB at path, relative to Dir, such as
	// <cluster id>/<app>/<task>. A path is opened once at a time. See [ErrUnusable]
	// and [ErrLocked].
	Open(path string) (DB, error)
	// SetAside moves the closed DB at path out of the way, for a rebuild, and writes
	// cause beside it. Of what was set aside for a path only the newest is kept.
	// Without anything at path it does nothing.
	SetAside(path, cause string) error
	// Close frees what the DBs share. All of them must be closed before.
	Close() error
}
