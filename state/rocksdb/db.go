// SPDX-License-Identifier: Apache-2.0

//go:build rocksdb

package rocksdb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/linxGnu/grocksdb"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/state/internal/gate"
)

const built = true

// shared is what all DBs of a backend use together.
type shared struct {
	cache   *grocksdb.Cache
	buffers *grocksdb.WriteBufferManager
	// mostBuffers is where those who write wait for room in buffers: half of the cache
	// is left for blocks.
	mostBuffers int64

	table  *grocksdb.BlockBasedTableOptions
	opts   *grocksdb.Options
	unused *grocksdb.Options // of the family that each DB has and that no store is in
	read   *grocksdb.ReadOptions
	write  *grocksdb.WriteOptions
	flush  *grocksdb.FlushOptions
	ingest *grocksdb.IngestExternalFileOptions
	env    *grocksdb.EnvOptions
}

const (
	levels = 7
	// readaheadBytes is what a compaction reads at once of each of its inputs.
	readaheadBytes = 256 << 10
)

func newShared(l limits) *shared {
	cache := newCache(l)
	s := &shared{
		cache: cache,
		// Charged to the cache, which gives up blocks for them: the sum is bounded.
		buffers:     grocksdb.NewWriteBufferManagerWithCache(int(l.writeBuffers), cache, false),
		mostBuffers: l.writeBuffers + l.blockCache/2,
		table:       grocksdb.NewDefaultBlockBasedTableOptions(),
		opts:        grocksdb.NewDefaultOptions(),
		unused:      grocksdb.NewDefaultOptions(),
		read:        grocksdb.NewDefaultReadOptions(),
		write:       grocksdb.NewDefaultWriteOptions(),
		flush:       grocksdb.NewDefaultFlushOptions(),
		ingest:      grocksdb.NewDefaultIngestExternalFileOptions(),
		env:         grocksdb.NewDefaultEnvOptions(),
	}
	s.setTable()
	s.setOptions(l)
	s.unused.SetWriteBufferManager(s.buffers)
	s.unused.SetBlockBasedTableFactory(s.table)
	s.write.DisableWAL(true)
	s.ingest.SetMoveFiles(true)
	return s
}

// newCache makes the cache of blocks, which holds the write buffers too. A read never
// fails for want of room in it: blocks that are in use may exceed it for a moment.
func newCache(l limits) *grocksdb.Cache {
	opts := grocksdb.NewLRUCacheOptions()
	defer opts.Destroy()
	opts.SetCapacity(uint(l.blockCache + l.writeBuffers))
	opts.SetNumShardBits(l.shardBits())
	return grocksdb.NewLRUCacheWithOptions(opts)
}

func (s *shared) setTable() {
	s.table.SetBlockCache(s.cache)
	s.table.SetFilterPolicy(grocksdb.NewBloomFilterFull(10))
	s.table.SetCacheIndexAndFilterBlocks(true) // so that the cache bounds them too
	s.table.SetPinL0FilterAndIndexBlocksInCache(true)
}

func (s *shared) setOptions(l limits) {
	s.opts.SetCreateIfMissing(true)
	s.opts.SetBlockBasedTableFactory(s.table)
	s.opts.SetWriteBufferManager(s.buffers)
	s.opts.SetWriteBufferSize(uint64(l.memtable()))
	s.opts.SetArenaBlockSize(uint64(l.arenaBlock()))
	s.opts.SetMemtableWholeKeyFiltering(true)
	s.opts.SetMemTablePrefixBloomSizeRatio(0.01)
	s.opts.SetAllowConcurrentMemtableWrites(false) // one writer a task
	s.opts.SetCompression(grocksdb.LZ4Compression) // of tables that are loaded
	perLevel := make([]grocksdb.CompressionType, levels)
	for i := range perLevel {
		perLevel[i] = grocksdb.LZ4Compression
	}
	perLevel[0], perLevel[1] = grocksdb.NoCompression, grocksdb.NoCompression
	s.opts.SetCompressionPerLevel(perLevel)
	s.opts.SetInfoLogLevel(grocksdb.WarnInfoLogLevel)
	s.opts.SetKeepLogFileNum(2)
	s.opts.SetMaxBackgroundJobs(max(2, runtime.GOMAXPROCS(0))) // of all DBs
	s.opts.SetStatsDumpPeriodSec(0)
	s.opts.SetStatsPersistPeriodSec(0)
	s.opts.CompactionReadaheadSize(readaheadBytes)
}

func (s *shared) destroy() {
	s.env.Destroy()
	s.ingest.Destroy()
	s.flush.Destroy()
	s.write.Destroy()
	s.read.Destroy()
	s.unused.Destroy()
	s.opts.Destroy()
	s.table.Destroy()
	s.buffers.Destroy()
	s.cache.Destroy()
}

// db is the DB of one task.
type db struct {
	dir      string
	shared   *shared
	r        *grocksdb.DB
	families map[string]*grocksdb.ColumnFamilyHandle
	gate     gate.Gate
	bases    map[string]*base
	left     func() // gives the folder back
}

func openDB(dir string, s *shared, left func()) (state.DB, error) {
	d := &db{dir: dir, shared: s, families: map[string]*grocksdb.ColumnFamilyHandle{}, bases: map[string]*base{}, left: left}
	if err := d.removeLoads(); err != nil {
		return nil, err
	}
	names := []string{"default"}
	if _, err := os.Stat(filepath.Join(dir, "CURRENT")); err == nil {
		if names, err = grocksdb.ListColumnFamilies(s.opts, dir); err != nil {
			return nil, classify(err)
		}
	}
	opts := make([]*grocksdb.Options, len(names))
	for i := range opts {
		opts[i] = s.opts
		if names[i] == "default" {
			opts[i] = s.unused
		}
	}
	r, handles, err := grocksdb.OpenDbColumnFamilies(s.opts, dir, names, opts)
	if err != nil {
		return nil, classify(err)
	}
	d.r = r
	for i, name := range names {
		d.families[name] = handles[i]
	}
	return d, nil
}

// classify marks the errors that a rebuild heals: damage, and files that are gone.
// RocksDB tells its kinds of errors by their text only.
func classify(err error) error {
	text := err.Error()
	if strings.Contains(text, "Corruption: ") || strings.Contains(text, "No such file or directory") {
		return fmt.Errorf("%w: %w", state.ErrUnusable, err)
	}
	return err
}

// loadFile is where a base writes what it loads, before it is a file of the DB.
func (d *db) loadFile(family uint32) string {
	return filepath.Join(d.dir, fmt.Sprintf("load-%d.tmp", family))
}

// removeLoads removes what a crash has left of loads.
func (d *db) removeLoads() error {
	files, err := filepath.Glob(filepath.Join(d.dir, "load-*.tmp"))
	for _, file := range files {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}

// Base implements [state.DB].
func (d *db) Base(name string) (state.Base, error) {
	if !d.gate.Enter() {
		return nil, fmt.Errorf("store %s: %w", name, state.ErrClosed)
	}
	defer d.gate.Leave()
	if b := d.bases[name]; b != nil {
		return b, nil
	}
	family := d.families[name]
	if family == nil {
		var err error
		if family, err = d.r.CreateColumnFamily(d.shared.opts, name); err != nil {
			return nil, fmt.Errorf("store %s: %w", name, classify(err))
		}
		d.families[name] = family
	}
	b := &base{db: d, family: family}
	d.bases[name] = b
	return b, nil
}

// Close implements [state.DB].
func (d *db) Close() error {
	if !d.gate.Close() {
		return nil
	}
	var errs []error
	for _, b := range d.bases {
		if b.Unflushed() > 0 || b.pending.Load() {
			errs = append(errs, d.r.FlushCF(b.family, d.shared.flush))
		}
	}
	for _, family := range d.families {
		family.Destroy()
	}
	d.r.Close()
	d.left()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close rocksdb %s: %w", d.dir, err)
	}
	return nil
}
