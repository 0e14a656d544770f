// SPDX-License-Identifier: Apache-2.0

// Package pebble keeps the bases of stores in Pebble, an LSM tree in Go: one DB a
// task, in which each store has a prefix of keys. There is no write-ahead log: what
// a crash leaves is what was flushed, and since all stores of a task share one
// tree it is one moment of the whole task.
//
// Where cgo is there, Pebble keeps its cache and write buffers in the C library's memory.
// With glibc [At] then has malloc make no more arenas, and give back at once what is
// large, for the whole process, as in package rocksdb.
//
// Two failures are Pebble's own: while the disk is full writes wait, and a
// manifest that can't be written ends the process.
package pebble

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/state/internal/folder"
	"github.com/millrace/millrace/state/internal/malloc"
)

const kind = "pebble"

// An Option changes a backend.
type Option interface{ apply(*backend) }

type option func(*backend)

func (o option) apply(b *backend) { o(b) }

// BlockCache sets the memory of the cache of blocks that all DBs of the backend
// share, in bytes. The default is 64 MiB.
func BlockCache(bytes int64) Option {
	return option(func(b *backend) { b.cacheBytes, b.chosen = bytes, true })
}

// WriteBuffer sets up to which size in bytes a task's writes gather in memory before
// they are written to a file. The default is 16 MiB.
func WriteBuffer(bytes int64) Option {
	return option(func(b *backend) { b.memtableBytes, b.chosen = bytes, true })
}

// Budget sets both by the parts of b. What tasks have in their write buffers Pebble
// takes off the cache of blocks, so that this one has both parts, but for what malloc may
// lose: blocks that come and go leave holes. A single buffer gets no more than a sixteenth
// of its own.
func Budget(b *state.Budget) Option {
	return option(func(to *backend) {
		to.cacheBytes = (b.BlockCache() + b.WriteBuffers()) / 8 * 5
		to.memtableBytes = min(max(b.WriteBuffers()/16, 256<<10), 16<<20)
		to.chosen = true
	})
}

// At makes a backend whose DBs lie in folders below dir. Nothing is touched before
// the first Open.
func At(dir string, opts ...Option) state.Backend {
	malloc.Tune() // with cgo the cache is in the C library's memory
	b := &backend{root: folder.At(dir, kind), cacheBytes: 64 << 20, memtableBytes: 16 << 20}
	for _, o := range opts {
		o.apply(b)
	}
	return b
}

type backend struct {
	root                      *folder.Root
	cacheBytes, memtableBytes int64
	chosen                    bool // by options: UseBudget leaves them

	mu    sync.Mutex
	cache *pebble.Cache // made by the first Open
}

func (b *backend) String() string { return kind }
func (b *backend) Dir() string    { return b.root.Dir() }

// UseBudget implements [state.Budgeted].
func (b *backend) UseBudget(to *state.Budget, dbs int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cache == nil && !b.chosen {
		Budget(to).apply(b)
		// One that is written, and one that is filled meanwhile.
		b.memtableBytes = min(b.memtableBytes, max(to.WriteBuffers()/2/int64(max(dbs, 1)), 128<<10))
	}
}

// blocks gives the cache that all DBs share.
func (b *backend) blocks() *pebble.Cache {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cache == nil {
		b.cache = pebble.NewCache(b.cacheBytes)
	}
	return b.cache
}

func (b *backend) Open(path string) (state.DB, error) {
	full, err := b.root.Take(path)
	if err != nil {
		return nil, fmt.Errorf("open pebble: %w", err)
	}
	db, err := openDB(vfs.Default, full, b)
	if err != nil {
		b.root.Leave(path)
		return nil, fmt.Errorf("open pebble %s: %w", full, err)
	}
	db.left = func() { b.root.Leave(path) }
	return db, nil
}

func (b *backend) SetAside(path, cause string) error { return b.root.SetAside(path, cause) }

func (b *backend) Close() error {
	b.mu.Lock()
	if b.cache != nil {
		b.cache.Unref()
		b.cache = nil
	}
	b.mu.Unlock()
	return b.root.Close()
}

// openDB opens the DB in the folder full of fsys.
func openDB(fsys vfs.FS, full string, b *backend) (*db, error) {
	d := &db{dir: full, fs: fsys, flushed: make(chan error, 1), bases: map[string]*base{}}
	if err := d.removeLoads(); err != nil {
		return nil, err
	}
	opts := &pebble.Options{
		FS:                          fsys,
		Cache:                       b.blocks(),
		DisableWAL:                  true,
		FormatMajorVersion:          pebble.FormatColumnarBlocks,
		MemTableSize:                uint64(b.memtableBytes),
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		Logger:                      quiet{},
		EventListener: &pebble.EventListener{
			// Corruption is told by the read that met it; the default ends the process.
			DataCorruption: func(pebble.DataCorruptionInfo) {},
			FlushEnd:       d.flushEnd,
		},
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		opts.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
		if i < 2 {
			opts.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		}
	}
	d.opts = opts
	p, err := pebble.Open(full, opts)
	if err != nil {
		return nil, classify(err)
	}
	d.p = p
	if err := d.readDirectory(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return d, nil
}

// classify marks the errors that a rebuild heals: damage, and files that are gone.
func classify(err error) error {
	if pebble.IsCorruptionError(err) || errors.Is(err, fs.ErrNotExist) || os.IsNotExist(err) {
		return fmt.Errorf("%w: %w", state.ErrUnusable, err)
	}
	return err
}

// loadFile is where a base writes what it loads, before it is a file of the DB.
func (d *db) loadFile(number uint32) string {
	return filepath.Join(d.dir, fmt.Sprintf("load-%d.tmp", number))
}

// removeLoads removes what a crash has left of loads.
func (d *db) removeLoads() error {
	files, err := d.fs.List(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, file := range files {
		if ok, _ := filepath.Match("load-*.tmp", file); ok {
			err = errors.Join(err, d.fs.Remove(filepath.Join(d.dir, file)))
		}
	}
	return err
}

// quiet drops Pebble's log: what matters comes back as an error.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}

// Fatalf must not return: Pebble's state is not to be used any more.
func (quiet) Fatalf(format string, args ...any) { panic("pebble: " + fmt.Sprintf(format, args...)) }
