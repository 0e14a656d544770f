// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// room is how many partitions may still be made.
func (r *registry) room() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.cfg.MaxPartitions - r.count
}

// takeTurn waits for the right to change the metadata.
func (r *registry) takeTurn(ctx context.Context) error {
	select {
	case r.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *registry) endTurn() { <-r.turn }

// newTopic describes a topic to create.
type newTopic struct {
	name       string
	partitions int32
	configs    map[string]string
	internal   bool
}

// checkNew refuses what can't be created.
func (r *registry) checkNew(n newTopic) error {
	if err := checkTopicName(n.name); err != nil {
		return err
	}
	if r.named(n.name) != nil {
		return fmt.Errorf("%w: %q", errTopicExists, n.name)
	}
	if other := r.colliding(n.name); other != "" {
		return fmt.Errorf("%w: %q collides with %q", errInvalidTopic, n.name, other)
	}
	if n.partitions < 1 {
		return fmt.Errorf("%w: %d", errInvalidPartitions, n.partitions)
	}
	if room := r.room(); int(n.partitions) > room {
		return fmt.Errorf("%w: %d, this broker has room for %d more", errInvalidPartitions, n.partitions, room)
	}
	return nil
}

// colliding finds a topic that differs from name in dots and underscores only: to
// metrics that make one of the other they are the same. "" is none.
func (r *registry) colliding(name string) string {
	if !strings.ContainsAny(name, "._") {
		return ""
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for other := range r.byName {
		if collide(name, other) {
			return other
		}
	}
	return ""
}

func collide(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && (a[i] != '.' && a[i] != '_' || b[i] != '.' && b[i] != '_') {
			return false
		}
	}
	return true
}

// create makes a topic, ready to be produced to when it returns.
func (r *registry) create(ctx context.Context, n newTopic) (*topic, error) {
	if err := r.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer r.endTurn()
	if err := r.checkNew(n); err != nil {
		return nil, err
	}
	tm := topicMetadata{Name: n.name, Partitions: n.partitions, Born: r.meta.Incarnation, Internal: n.internal, Configs: n.configs}
	rand.Read(tm.ID[:])
	t := r.newTopicOf(tm)
	parts, err := r.makeTopic(ctx, t, tm)
	if err != nil && !errors.Is(err, errNotDurable) {
		return nil, fmt.Errorf("create topic %q: %w", n.name, errors.Join(err, r.discard(t, parts)))
	}
	r.publish(t, parts)
	r.log.Info("topic created", "topic", t.name, "topic_id", t.id.String(), "partitions", n.partitions)
	return t, err
}

// makeTopic makes the folders, then the entry in the metadata file.
func (r *registry) makeTopic(ctx context.Context, t *topic, tm topicMetadata) ([]*partition, error) {
	parts, err := r.extend(ctx, t, tm.Partitions)
	if err != nil {
		return nil, err
	}
	meta := *r.meta
	meta.Topics = append(slices.Clone(meta.Topics), tm)
	return parts, r.save(&meta)
}

// addPartitions grows a topic to n partitions.
func (r *registry) addPartitions(ctx context.Context, name string, n int32) error {
	if err := r.takeTurn(ctx); err != nil {
		return err
	}
	defer r.endTurn()
	t := r.named(name)
	if t == nil {
		return fmt.Errorf("%w: %q", errUnknownTopic, name)
	}
	if err := r.checkGrowth(t, n); err != nil {
		return err
	}
	parts, err := r.extend(ctx, t, n)
	if err != nil {
		return fmt.Errorf("add partitions to %q: %w", name, err)
	}
	meta := *r.meta
	meta.Topics = slices.Clone(meta.Topics)
	for i := range meta.Topics {
		if meta.Topics[i].ID == t.id {
			meta.Topics[i].Partitions = n
		}
	}
	err = r.save(&meta)
	if err != nil && !errors.Is(err, errNotDurable) {
		return errors.Join(err, removeLogs(parts[len(t.partitions()):]))
	}
	r.publish(t, parts)
	r.log.Info("partitions added", "topic", name, "partitions", n)
	return err
}

func (r *registry) checkGrowth(t *topic, n int32) error {
	before := len(t.partitions())
	if int(n) <= before {
		return fmt.Errorf("%w: %d, the topic has %d", errInvalidPartitions, n, before)
	}
	if room := r.room(); int(n)-before > room {
		return fmt.Errorf("%w: %d, this broker has room for %d more", errInvalidPartitions, n, room)
	}
	return nil
}

// remove deletes a topic for good: once the file is replaced it will not come
// back, whatever happens to its folder.
func (r *registry) remove(ctx context.Context, id topicID) error {
	if err := r.takeTurn(ctx); err != nil {
		return err
	}
	defer r.endTurn()
	t := r.withID(id)
	if t == nil {
		return errUnknownTopic
	}
	meta := *r.meta
	meta.Topics = slices.DeleteFunc(slices.Clone(meta.Topics), func(tm topicMetadata) bool { return tm.ID == id })
	err := r.save(&meta)
	if err != nil && !errors.Is(err, errNotDurable) {
		return err
	}
	r.mu.Lock()
	delete(r.byName, t.name)
	delete(r.byID, t.id)
	r.count -= len(t.partitions())
	r.picture.Store(nil)
	r.mu.Unlock()
	r.metrics.topics.Forget(t.metrics)
	r.log.Info("topic deleted", "topic", t.name, "topic_id", t.id.String())
	if err := r.discard(t, t.partitions()); err != nil {
		// It is deleted all the same; the next start removes the rest.
		r.log.Warn("the folder of a deleted topic could not be removed", "topic", t.name, "topic_id", t.id.String(), "err", err)
	}
	r.keepSpare()
	return err
}

// discard ends a topic's partitions and removes its files.
func (r *registry) discard(t *topic, parts []*partition) error {
	return errors.Join(removeLogs(parts), r.cfg.FS.RemoveAll(r.topicDir(t.id)))
}

func removeLogs(parts []*partition) error {
	var errs []error
	for _, p := range parts {
		p.drop()
		errs = append(errs, p.log.Remove())
	}
	return errors.Join(errs...)
}

// reserveProducerIDs makes sure that n ids are given to nobody else, ever, and
// returns the first.
func (r *registry) reserveProducerIDs(ctx context.Context, n int64) (int64, error) {
	if err := r.takeTurn(ctx); err != nil {
		return 0, err
	}
	defer r.endTurn()
	meta := *r.meta
	first := meta.NextProducerID
	meta.NextProducerID += n
	return first, r.save(&meta)
}

// save makes meta the truth. The turn is held. After errNotDurable it is the
// truth for this process and for the next, but perhaps not after a power cut:
// the caller goes on as if all was well, and then reports the error.
func (r *registry) save(meta *metadata) error {
	err := meta.save(r.cfg.FS, r.cfg.Dir)
	if err == nil || errors.Is(err, errNotDurable) {
		r.meta = meta
	}
	if err == nil {
		r.keepSpare()
	}
	return err
}

// keepSpare makes room for the next metadata, if the disk has some. The turn is held.
func (r *registry) keepSpare() {
	info, err := r.cfg.FS.Stat(filepath.Join(r.cfg.Dir, metadataName))
	if err == nil {
		err = keepSpare(r.cfg.FS, r.cfg.Dir, int(info.Size()))
	}
	if err != nil {
		r.log.Warn("the next change of topics or configs may find no room", "err", err)
	}
}
