// SPDX-License-Identifier: Apache-2.0

// Package rocksdb keeps the bases of stores in RocksDB: one DB a task, a column
// family a store. It is compiled in with -tags rocksdb (and grocksdb_clean_link),
// which needs cgo and the library; without the tag Open answers [ErrNotBuilt].
//
// There is no write-ahead log. Families are flushed one by one, so after a crash
// two stores of a task may be of two moments; each one's header lies in its own
// family and was written in one batch with its data, so each says truly of which.
//
// All DBs of a backend share one cache, to which their write buffers, and the indexes
// and filters of their tables are charged. Outside of it are some 100 KiB a DB, what a
// flush or a compaction has in its hands (two run at a time, a few MiB each), and what
// the C library keeps of what was freed. With glibc that would grow with the number of
// threads: a program with this package has one arena of malloc, and [At] has it give back
// at once what is large, for the whole process, unless MALLOC_ARENA_MAX,
// MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_ or GLIBC_TUNABLES say otherwise.
package rocksdb

import (
	"errors"
	"fmt"
	"sync"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/state/internal/folder"
	"github.com/millrace/millrace/state/internal/malloc"
)

const kind = "rocksdb"

// ErrNotBuilt says that this program was compiled without RocksDB.
var ErrNotBuilt = errors.New("this program was built without RocksDB (build with -tags rocksdb,grocksdb_clean_link, or use Pebble)")

// Built tells whether RocksDB is compiled in.
const Built = built

// An Option changes a backend.
type Option interface{ apply(*limits) }

type option func(*limits)

func (o option) apply(l *limits) { o(l) }

// limits are the memory that all DBs of a backend share, in bytes.
type limits struct {
	blockCache, writeBuffers int64

	dbs    int64 // that share them, 0 if that is not known
	chosen bool  // by options: UseBudget leaves them
}

// memtable is up to which size in bytes the writes of one store gather: every one has
// structures in proportion to it from the first write on, which many DBs would fill
// the write buffers with.
func (l *limits) memtable() int64 {
	share := 4 * l.writeBuffers / max(l.dbs, 1) // some are busier than others
	return min(max(min(share, l.writeBuffers/2), 1<<20), 64<<20)
}

// arenaBlock is how much memory in bytes a memtable takes at once.
func (l *limits) arenaBlock() int64 { return min(max(l.memtable()/16, 64<<10), 256<<10) }

// shardBits is the logarithm of the number of parts of the cache, each with a lock: a
// filter of a big table must fit well into one of them.
func (l *limits) shardBits() int {
	bits := 0
	for bits < 6 && (l.blockCache+l.writeBuffers)>>(bits+1) >= 16<<20 {
		bits++
	}
	return bits
}

// BlockCache sets the memory of the cache of blocks that all DBs of the backend
// share, in bytes: indexes and filters of tables are in it. The default is 64 MiB. What
// write buffers leave of their own part is used for blocks as well.
func BlockCache(bytes int64) Option {
	return option(func(l *limits) { l.blockCache, l.chosen = bytes, true })
}

// WriteBuffers sets up to which size in bytes the writes of all DBs of the backend
// gather in memory before they are written to files. The default is 128 MiB.
func WriteBuffers(bytes int64) Option {
	return option(func(l *limits) { l.writeBuffers, l.chosen = bytes, true })
}

// Budget sets both to what their parts of b have room for: blocks that come and go leave
// holes in the C library's memory, which may take as much as the blocks.
func Budget(b *state.Budget) Option {
	return option(func(l *limits) {
		l.blockCache, l.writeBuffers, l.chosen = b.BlockCache()/2, b.WriteBuffers()/4*3, true
	})
}

// At makes a backend whose DBs lie in folders below dir. Nothing is touched before
// the first Open.
func At(dir string, opts ...Option) state.Backend {
	if Built {
		malloc.Tune()
	}
	b := &backend{root: folder.At(dir, kind), limits: limits{blockCache: 64 << 20, writeBuffers: 128 << 20}}
	for _, o := range opts {
		o.apply(&b.limits)
	}
	return b
}

type backend struct {
	root   *folder.Root
	limits limits

	mu     sync.Mutex
	shared *shared // made by the first Open
}

func (b *backend) String() string { return kind }
func (b *backend) Dir() string    { return b.root.Dir() }

// UseBudget implements [state.Budgeted].
func (b *backend) UseBudget(to *state.Budget, dbs int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shared == nil && !b.limits.chosen {
		Budget(to).apply(&b.limits)
		b.limits.dbs = int64(dbs)
	}
}

func (b *backend) Open(path string) (state.DB, error) {
	if !Built {
		return nil, fmt.Errorf("open rocksdb: %w", ErrNotBuilt)
	}
	full, err := b.root.Take(path)
	if err != nil {
		return nil, fmt.Errorf("open rocksdb: %w", err)
	}
	b.mu.Lock()
	if b.shared == nil {
		b.shared = newShared(b.limits)
	}
	s := b.shared
	b.mu.Unlock()
	db, err := openDB(full, s, func() { b.root.Leave(path) })
	if err != nil {
		b.root.Leave(path)
		return nil, fmt.Errorf("open rocksdb %s: %w", full, err)
	}
	return db, nil
}

func (b *backend) SetAside(path, cause string) error { return b.root.SetAside(path, cause) }

func (b *backend) Close() error {
	b.mu.Lock()
	s := b.shared
	b.shared = nil
	b.mu.Unlock()
	if s != nil {
		s.destroy()
	}
	return b.root.Close()
}
