// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// maxGroupConfigs is how many groups may have configs of their own: they need not
// exist, and each is in the metadata file.
const maxGroupConfigs = 10_000

// groupConfigs are the configs that groups have of their own, by name of the group:
// of those of the consumer protocol (KIP-848) the session timeout and the heartbeat
// interval. Neither map is ever changed.
type groupConfigs map[string]map[string]string

// changeGroupConfig changes the configs of a group, which need not exist, at once and
// for good. With dry it only tells whether it could.
func (r *registry) changeGroupConfig(ctx context.Context, name string, change configChange, dry bool) error {
	if err := r.takeTurn(ctx); err != nil {
		return err
	}
	defer r.endTurn()
	set, err := change(r.meta.GroupConfigs[name])
	if err == nil {
		err = r.checkGroup(set)
	}
	if err != nil || dry {
		return err
	}
	meta := *r.meta
	meta.GroupConfigs = maps.Clone(meta.GroupConfigs)
	if meta.GroupConfigs == nil {
		meta.GroupConfigs = make(groupConfigs)
	}
	if meta.GroupConfigs[name] = set; len(set) == 0 {
		delete(meta.GroupConfigs, name)
	}
	if len(meta.GroupConfigs) > maxGroupConfigs {
		return fmt.Errorf("%w: %d groups have configs of their own", errInvalidConfig, maxGroupConfigs)
	}
	err = r.save(&meta)
	if err != nil && !errors.Is(err, errNotDurable) {
		return err
	}
	r.groups.Store(&meta.GroupConfigs)
	r.log.Info("group configs changed", "group", name, "configs", set)
	return err
}

// groupConfig is what is set on a group, nil for nothing.
func (r *registry) groupConfig(name string) map[string]string { return (*r.groups.Load())[name] }

// configuredGroups are the groups that have configs, in order.
func (r *registry) configuredGroups() []string { return slices.Sorted(maps.Keys(*r.groups.Load())) }

// groupLayers are the places where a value of a group can come from.
func (r *registry) groupLayers(set map[string]string) *layers {
	return &layers{group: set, brokerLayers: r.defaults.Load()}
}

// groupTimes are the session timeout and the heartbeat interval of a group.
func (r *registry) groupTimes(name string) (session, heartbeat time.Duration) {
	set := r.groupConfig(name)
	if set == nil {
		return r.cfg.ConsumerSessionTimeout, r.cfg.ConsumerHeartbeatInterval
	}
	l := r.groupLayers(set)
	return l.groupTime(groupSession), l.groupTime(groupHeartbeat)
}

const (
	groupSession   = "consumer.session.timeout.ms"
	groupHeartbeat = "consumer.heartbeat.interval.ms"
)

// groupTime is the value of a group's option.
func (l *layers) groupTime(name string) time.Duration {
	n, _ := strconv.ParseInt(l.valueOf(groupOption(name)), 10, 64)
	return time.Duration(n) * time.Millisecond
}

// checkGroup refuses settings of a group beyond what the broker allows.
func (r *registry) checkGroup(set map[string]string) error {
	l := r.groupLayers(set)
	session, heartbeat := l.groupTime(groupSession), l.groupTime(groupHeartbeat)
	for _, b := range []struct {
		name        string
		value       time.Duration
		least, most time.Duration
	}{
		{groupSession, session, r.cfg.ConsumerMinSessionTimeout, r.cfg.ConsumerMaxSessionTimeout},
		{groupHeartbeat, heartbeat, r.cfg.ConsumerMinHeartbeatInterval, r.cfg.ConsumerMaxHeartbeatInterval},
	} {
		if b.value < b.least || b.value > b.most {
			return fmt.Errorf("%w: %s must lie between %d and %d", errInvalidConfig, b.name, b.least.Milliseconds(), b.most.Milliseconds())
		}
	}
	if heartbeat >= session {
		return fmt.Errorf("%w: %s (%d) must be less than %s (%d)", errInvalidConfig, groupHeartbeat, heartbeat.Milliseconds(), groupSession, session.Milliseconds())
	}
	return nil
}
