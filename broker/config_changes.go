// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// layersOf has what meta says of the broker's configs.
func (r *registry) layersOf(meta *metadata) *brokerLayers {
	return &brokerLayers{node: meta.NodeConfigs, cluster: meta.ClusterConfigs, cfg: r.cfg}
}

// A configChange makes new settings of old ones, which it leaves as they are.
type configChange func(old map[string]string) (map[string]string, error)

// changeTopicConfig changes the configs of a topic, at once and for good. With
// dry it only tells whether it could.
func (r *registry) changeTopicConfig(ctx context.Context, name string, change configChange, dry bool) error {
	if err := r.takeTurn(ctx); err != nil {
		return err
	}
	defer r.endTurn()
	t := r.named(name)
	if t == nil {
		return fmt.Errorf("%w: %q", errUnknownTopic, name)
	}
	set, err := change(t.config().set)
	if err == nil {
		err = r.defaults.Load().checkTopic(set)
	}
	if err != nil || dry {
		return err
	}
	meta := *r.meta
	meta.Topics = slices.Clone(meta.Topics)
	for i := range meta.Topics {
		if meta.Topics[i].ID == t.id {
			meta.Topics[i].Configs = set
		}
	}
	err = r.save(&meta)
	if err != nil && !errors.Is(err, errNotDurable) {
		return err
	}
	r.log.Info("topic configs changed", "topic", name, "configs", set)
	return errors.Join(err, r.configure(t, r.defaults.Load(), set))
}

// changeBrokerConfig changes the configs of this broker, or with cluster of all
// that there are.
func (r *registry) changeBrokerConfig(ctx context.Context, cluster bool, change configChange, dry bool) error {
	if err := r.takeTurn(ctx); err != nil {
		return err
	}
	defer r.endTurn()
	meta := *r.meta
	where := &meta.NodeConfigs
	if cluster {
		where = &meta.ClusterConfigs
	}
	set, err := change(*where)
	if err != nil {
		return err
	}
	*where = set
	defaults := r.layersOf(&meta)
	if err := defaults.checkTopic(nil); err != nil || dry {
		return err
	}
	err = r.save(&meta)
	if err != nil && !errors.Is(err, errNotDurable) {
		return err
	}
	r.defaults.Store(defaults)
	r.log.Info("broker configs changed", "cluster", cluster, "configs", set)
	errs := []error{err}
	for _, t := range r.all() {
		errs = append(errs, r.configure(t, defaults, t.config().set))
	}
	return errors.Join(errs...)
}

// configure lets a topic and its logs work by what is set. The turn is held.
func (r *registry) configure(t *topic, defaults *brokerLayers, set map[string]string) error {
	conf := defaults.topicConfigOf(maps.Clone(set))
	t.conf.Store(conf)
	var errs []error
	for _, p := range t.partitions() {
		if err := p.log.Tune(conf.tuning(r.cfg)); err != nil {
			errs = append(errs, fmt.Errorf("configure %s-%d: %w", t.name, p.index, err))
		}
	}
	return errors.Join(errs...)
}
