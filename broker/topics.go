// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/broker/internal/group"
	"github.com/millrace/millrace/broker/internal/metrics"
	"github.com/millrace/millrace/broker/internal/seglog"
	"github.com/millrace/millrace/internal/vfs"
)

// offsetsTopic holds the groups and their committed offsets.
const offsetsTopic = "__consumer_offsets"

// Errors of the registry, for the handlers to map to Kafka's codes.
var (
	errTopicExists       = errors.New("topic exists")
	errUnknownTopic      = errors.New("unknown topic")
	errInvalidTopic      = errors.New("invalid topic name")
	errInvalidPartitions = errors.New("invalid number of partitions")
)

// A topic is a name, an id, its partitions and its configs. All but the
// partitions and the configs never change.
type topic struct {
	name     string
	id       topicID
	internal bool
	born     int32 // the incarnation that created it
	parts    atomic.Pointer[[]*partition]
	conf     atomic.Pointer[topicConfig]
	metrics  *metrics.Topic // set before anyone sees it
}

// newTopicOf returns a topic without partitions.
func (r *registry) newTopicOf(m topicMetadata) *topic {
	t := &topic{name: m.Name, id: m.ID, internal: m.Internal, born: m.Born}
	t.parts.Store(new([]*partition))
	t.conf.Store(r.defaults.Load().topicConfigOf(m.Configs))
	return t
}

// config is what holds for the topic now.
func (t *topic) config() *topicConfig { return t.conf.Load() }

func (t *topic) partitions() []*partition { return *t.parts.Load() }

// partition returns partition i, or nil.
func (t *topic) partition(i int32) *partition {
	if parts := t.partitions(); i >= 0 && int(i) < len(parts) {
		return parts[i]
	}
	return nil
}

// registry has all topics, and the metadata file that says which exist.
//
// Changes take turns (see turn) and go in this order: folders and logs, then
// the file, then the maps. Until the file is replaced nothing has happened.
type registry struct {
	cfg     *Config
	log     *slog.Logger
	metrics *brokerMetrics

	// turn is held by whoever changes the metadata, through its I/O. It has
	// room for one token.
	turn chan struct{}
	meta *metadata // of the file; only with the turn

	clusterID string                       // never changes
	handles   *seglog.Handles              // of all logs
	defaults  atomic.Pointer[brokerLayers] // of topics' configs
	groups    atomic.Pointer[groupConfigs]

	mu     sync.RWMutex
	byName map[string]*topic
	byID   map[topicID]*topic
	count  int // partitions of all topics

	picture atomic.Pointer[group.Topics] // of both maps; nil if they have changed since. Written with mu
}

// openRegistry loads the metadata, counts one incarnation up, removes what no
// topic owns, and opens all logs.
func openRegistry(ctx context.Context, cfg *Config, m *brokerMetrics) (*registry, error) {
	r := &registry{
		cfg: cfg, log: cfg.Logger, metrics: m,
		turn:    make(chan struct{}, 1),
		handles: seglog.NewHandles(cfg.MaxOpenSegments),
		byName:  make(map[string]*topic), byID: make(map[topicID]*topic),
	}
	meta, err := loadMetadata(cfg.FS, cfg.Dir)
	if err != nil {
		return nil, err
	}
	if meta == nil {
		if meta, err = r.firstStart(); err != nil {
			return nil, err
		}
	}
	meta.Incarnation++
	if err := meta.save(cfg.FS, cfg.Dir); err != nil {
		return nil, err
	}
	r.meta, r.clusterID = meta, meta.ClusterID
	r.keepSpare()
	r.defaults.Store(r.layersOf(meta))
	r.groups.Store(&meta.GroupConfigs)
	if err := r.removeLeftOvers(); err != nil {
		return nil, err
	}
	if err := r.openAll(ctx); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// firstStart makes the metadata of an empty directory. Logs without metadata
// are never taken for left-overs: somebody has lost a file.
func (r *registry) firstStart() (*metadata, error) {
	entries, err := r.cfg.FS.ReadDir(r.topicsDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", r.topicsDir(), err)
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("%s holds topics, but the file %q beside it is missing: restore it, or start in another directory",
			r.topicsDir(), metadataName)
	}
	var id [16]byte
	rand.Read(id[:])
	return &metadata{ClusterID: base64.RawURLEncoding.EncodeToString(id[:]), Incarnation: -1}, nil
}

func (r *registry) topicsDir() string          { return filepath.Join(r.cfg.Dir, "topics") }
func (r *registry) topicDir(id topicID) string { return filepath.Join(r.topicsDir(), id.String()) }
func (r *registry) leaderEpoch(t *topic) int32 { return r.meta.Incarnation - t.born }
func (r *registry) fsync() bool                { return r.cfg.Flush.Mode == FlushBatch }

// removeLeftOvers removes the folders of topics that were deleted, or not yet
// created, when the broker died.
func (r *registry) removeLeftOvers() error {
	dir := r.topicsDir()
	if err := r.cfg.FS.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	entries, err := r.cfg.FS.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read %s: %w", dir, err)
	}
	owned := make(map[string]bool)
	for _, t := range r.meta.Topics {
		owned[t.ID.String()] = true
	}
	for _, e := range entries {
		var id topicID
		if owned[e.Name()] || id.UnmarshalText([]byte(e.Name())) != nil {
			continue
		}
		r.log.Info("removing the folder of a topic that does not exist", "topic_id", e.Name())
		if err := r.cfg.FS.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove left-over topic: %w", err)
		}
	}
	return r.cfg.FS.SyncDir(r.cfg.Dir)
}

// openAll opens the logs of all topics, a few at a time: after a crash each is
// checked.
func (r *registry) openAll(ctx context.Context) error {
	const atOnce = 4
	var wg sync.WaitGroup
	errs := make([]error, len(r.meta.Topics))
	slots := make(chan struct{}, atOnce)
	for i, tm := range r.meta.Topics {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			t := r.newTopicOf(tm)
			r.warnOfMissing(t, tm.Partitions)
			var parts []*partition
			if parts, errs[i] = r.extend(ctx, t, tm.Partitions); errs[i] == nil {
				r.publish(t, parts)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// warnOfMissing tells of folders that somebody has removed: a topic is told to
// exist after its folders are durable.
func (r *registry) warnOfMissing(t *topic, n int32) {
	for i := range int(n) {
		dir := filepath.Join(r.topicDir(t.id), strconv.Itoa(i))
		if _, err := r.cfg.FS.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			r.log.Error("the folder of a partition is missing: it starts empty", "topic", t.name, "partition", i, "dir", dir)
		}
	}
}

// extend opens the logs that t lacks to have n partitions, and returns all n.
// Folders that are missing are made, durably. After an error nothing of it stays open.
func (r *registry) extend(ctx context.Context, t *topic, n int32) ([]*partition, error) {
	old := t.partitions()
	opened := make([]*partition, int(n)-len(old))
	dir := r.topicDir(t.id)
	var made atomic.Bool
	err := inParallel(len(opened), func(i int) (err error) {
		at := len(old) + i
		pdir := filepath.Join(dir, strconv.Itoa(at))
		if _, err := r.cfg.FS.Stat(pdir); err != nil {
			made.Store(true)
		}
		if opened[i], err = r.openPartition(ctx, t, at, pdir); err != nil {
			return fmt.Errorf("open partition %s-%d: %w", t.name, at, err)
		}
		return nil
	})
	if err == nil && made.Load() {
		err = syncDirs(r.cfg.FS, dir, r.topicsDir())
	}
	if err != nil {
		opened = slices.DeleteFunc(opened, func(p *partition) bool { return p == nil })
		return nil, errors.Join(err, closeLogs(opened))
	}
	return append(slices.Clone(old), opened...), nil
}

// inParallel calls fn for 0 to n-1 until one fails, some calls at a time where
// there are many: what takes the time is syncs.
func inParallel(n int, fn func(i int) error) error {
	const atOnce, each = 16, 8 // calls under way, and calls that a goroutine more is worth
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for range min((n+each-1)/each, atOnce) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && failed.Load() == nil; i = int(next.Add(1)) - 1 {
				if err := fn(i); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (r *registry) openPartition(ctx context.Context, t *topic, i int, dir string) (*partition, error) {
	cfg := t.config().seglog(r.cfg, dir)
	cfg.OnFlush, cfg.Handles = r.metrics.flushed, r.handles
	log, err := seglog.Open(cfg)
	if err != nil {
		return nil, err
	}
	p, err := newPartition(ctx, t, int32(i), r.leaderEpoch(t), log, r.fsync())
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return p, nil
}

// publish lets the handlers see t with parts.
func (r *registry) publish(t *topic, parts []*partition) {
	if t.metrics == nil {
		t.metrics = r.metrics.topics.Add(t.name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count += len(parts) - len(t.partitions())
	t.parts.Store(&parts)
	r.byName[t.name], r.byID[t.id] = t, t
	r.picture.Store(nil)
}

// named returns the topic, or nil.
func (r *registry) named(name string) *topic {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byName[name]
}

// withID returns the topic, or nil.
func (r *registry) withID(id topicID) *topic {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byID[id]
}

// all returns all topics by name.
func (r *registry) all() []*topic {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.SortedFunc(maps.Values(r.byName), func(a, b *topic) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
}

// partitionCount is how many partitions all topics have.
func (r *registry) partitionCount() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.count
}

// close flushes and closes all logs.
func (r *registry) close() error {
	var all []*partition
	for _, t := range r.all() {
		all = append(all, t.partitions()...)
	}
	return closeLogs(all)
}

// closeLogs closes logs, a few at a time: each may wait for an fsync.
func closeLogs(parts []*partition) error {
	const atOnce = 8
	var wg sync.WaitGroup
	errs := make([]error, len(parts))
	slots := make(chan struct{}, atOnce)
	for i, p := range parts {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			p.drop()
			if err := p.log.Close(); err != nil {
				errs[i] = fmt.Errorf("close %s-%d: %w", p.topic.name, p.index, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// makeDurable makes a folder and those above it that are missing, so that they
// survive a crash.
func makeDurable(fsys vfs.FS, dir string) error {
	missing := []string{}
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := fsys.Stat(d); err == nil || d == filepath.Dir(d) {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		missing = append(missing, filepath.Dir(d))
	}
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return syncDirs(fsys, missing...)
}

func syncDirs(fsys vfs.FS, dirs ...string) error {
	for _, d := range dirs {
		if err := fsys.SyncDir(d); err != nil {
			return fmt.Errorf("sync %s: %w", d, err)
		}
	}
	return nil
}

// checkTopicName follows Kafka's Topic.validate.
func checkTopicName(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > maxTopicLength {
		return fmt.Errorf("%w: %.300q", errInvalidTopic, name)
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return fmt.Errorf("%w: %.300q", errInvalidTopic, name)
		}
	}
	return nil
}
