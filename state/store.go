// SPDX-License-Identifier: Apache-2.0

package state

// A Store is what the engine sees of a store of any kind. It belongs to one
// worker; only the committed view, which each kind gives in its own way, may be
// read by other goroutines.
//
// The life of a change:
//
//	Set -> open layer -> Seal -> sealed layer -> Commit -> committed layer -> base
//	           \------------ Discard ------/
type Store interface {
	// Name is the store's name, unique in its application.
	Name() string
	// Kind is the kind of store: "keyvalue", "window", "session", "list".
	Kind() string
	// Serdes names the encodings of key and value: the fingerprint in a [Header].
	Serdes() string

	// Seal ends the open layer: every changed key is encoded once, and stands in
	// key order in the layer that is returned. Nil if nothing changed. Values stay
	// decoded in the cache. After an error the open layer is as it was.
	Seal() (*Layer, error)
	// Commit says that l, the oldest layer that is sealed and not committed, is
	// acknowledged in the changelog up to h.Position. The store hands it to the
	// base with h, perhaps later together with others. It may be nil, which only
	// moves the header on.
	Commit(l *Layer, h Header) error
	// Discard drops the open layer and all sealed ones that are not committed, with
	// every decoded value that they touched: the store is as after the last Commit.
	Discard()
	// Flush hands all committed layers to the base and makes them durable.
	Flush() error
	// Unflushed is about how many committed bytes are not durable yet: what would
	// have to be restored after a crash.
	Unflushed() int64

	// Restore folds changelog records, in their order, into the base: at the start,
	// before any use of the store. h.Position is that after them. No slice of recs
	// is kept.
	Restore(recs []Change, h Header) error
	// Restored ends the restore: the store may be used. Much of what was restored last
	// is handed to the base beside that; the next call that changes the base waits for
	// it, as Flush and Close do, and gives its error.
	Restored() error

	// Bytes is the memory of the open, sealed and committed layers, and that of
	// clean entries, which Shrink can free. Values that are not encoded yet are estimated.
	Bytes() (dirty, cached int64)
	// Shrink evicts clean entries until they take no more than about target bytes.
	Shrink(target int64)
	// Close hands committed layers to the base, drops the others and frees the
	// memory. The base stays open: it is closed, and made durable, by its DB.
	Close() error
}

// A Change is one record of a changelog.
type Change struct {
	Key, Value []byte // Value nil: a tombstone
	Timestamp  int64  // ms since the Unix epoch: the record's, and the value's
}
