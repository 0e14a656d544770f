// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link"
)

// ErrTopicDeleted says that a topic that the application reads by its name was deleted
// while it ran.
var ErrTopicDeleted = errors.New("a source topic was deleted")

// goneAfter is in how many looks, one after the other, a topic must be missing before it
// counts as deleted: a broker may not have heard of a topic yet that another has told of.
const goneAfter = 3

// A watcher looks for topics that have come, gone or grown. It belongs to one goroutine.
type watcher struct {
	app     *App
	missing map[string]int // looks in which a topic that is read was not there
}

func (a *App) watch(ctx context.Context) {
	w := watcher{app: a, missing: map[string]int{}}
	tick := time.NewTicker(a.cfg.TopicsInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-a.unsure:
		case <-ctx.Done():
			return
		}
		err := w.look(ctx)
		_, wrong := errors.AsType[*topicsError](err)
		switch {
		case err == nil || ctx.Err() != nil:
		case wrong || errors.Is(err, link.ErrClosed) || errors.Is(err, ErrTopicDeleted):
			a.fail(err)
		default: // as of a broker that is starting: the next look may do
			a.log.Warn("topics could not be looked at", "err", err)
		}
	}
}

// look compares the topics with what is known of them, and has the group share out what
// has changed. It begins with what costs one request, and is all there is as a rule.
func (w *watcher) look(ctx context.Context) error {
	a := w.app
	found, m, overlaps, err := sourcesOf(ctx, a.cluster, a.plan)
	if err != nil {
		return err
	}
	known := a.topics.Load()
	if err := w.count(known, found); err != nil {
		return err
	}
	if len(overlaps) == 0 && w.same(known, found, m) {
		return nil
	}
	s, err := setUpTopics(ctx, a.cluster, a.plan, a.cfg.Replication)
	if err != nil {
		return fmt.Errorf("topics have changed: %w", err)
	}
	w.keep(known, s)
	now := newTopicSet(a.plan, s, known)
	now.limits = limitsOf(ctx, a.cluster, a.plan, a.log)
	w.tell(known, now)
	a.adopt(ctx, now)
	return nil
}

// count notes which topics are not there. The error is that one is gone which is read by
// its name.
func (w *watcher) count(known *topicSet, found map[string]link.Topic) error {
	for topic := range known.topics {
		if known.subs[topic] == nil {
			continue
		}
		is, ok := found[topic]
		again := ok && is.ID != known.topics[topic].ID
		if ok && !again {
			delete(w.missing, topic)
			continue
		}
		w.missing[topic]++
		if w.missing[topic] < goneAfter || !named(known, topic) {
			continue
		}
		if again {
			return fmt.Errorf("topic %q was deleted and created again: what the application has read and stored belongs to the old one; start the application anew, or reset it: %w", topic, ErrTopicDeleted)
		}
		return fmt.Errorf("topic %q is gone: create it and start the application anew: %w", topic, ErrTopicDeleted)
	}
	return nil
}

// named tells whether a topic is read by its name, not because of a pattern.
func named(known *topicSet, topic string) bool {
	for _, topics := range known.matches {
		if slices.Contains(topics, topic) {
			return false
		}
	}
	return true
}

// gone tells whether a topic has been missing for long enough.
func (w *watcher) gone(topic string) bool { return w.missing[topic] >= goneAfter }

// same tells whether what was found is what is known, or not sure enough to be news.
func (w *watcher) same(known *topicSet, found map[string]link.Topic, m plan.Matches) bool {
	for topic, is := range found {
		was, ok := known.topics[topic]
		if w.missing[topic] > 0 { // it is another of the same name
			if w.gone(topic) {
				return false
			}
			continue
		}
		if !ok || is.Partitions > was.Partitions {
			return false
		}
	}
	for _, topics := range known.matches {
		if slices.ContainsFunc(topics, w.gone) {
			return false
		}
	}
	for expr, topics := range m {
		for _, topic := range topics {
			if !slices.Contains(known.matches[expr], topic) {
				return false
			}
		}
	}
	return true
}

// keep leaves matches as they were where it is not sure that they are gone, and takes
// those away that are, though another of the same name may be there by now: that one is
// found by the next look.
func (w *watcher) keep(known *topicSet, s *topicSurvey) {
	for expr, topics := range known.matches {
		for _, topic := range topics {
			at, there := slices.BinarySearch(s.matches[expr], topic)
			switch {
			case w.gone(topic):
				if there {
					s.matches[expr] = slices.Delete(s.matches[expr], at, at+1)
				}
				delete(s.found, topic)
				delete(w.missing, topic)
			case w.missing[topic] > 0:
				if !there {
					s.matches[expr] = slices.Insert(s.matches[expr], at, topic)
				}
				s.found[topic] = known.topics[topic]
			}
		}
	}
}

// tell logs what has changed.
func (w *watcher) tell(known, now *topicSet) {
	for _, expr := range w.app.plan.Patterns() {
		for _, topic := range now.matches[expr] {
			if !slices.Contains(known.matches[expr], topic) {
				w.app.log.Info("a topic that matches a pattern is read from now on", "topic", topic, "pattern", expr, "partitions", now.topics[topic].Partitions)
			}
		}
		for _, topic := range known.matches[expr] {
			if !slices.Contains(now.matches[expr], topic) {
				w.app.log.Warn("a topic that matched a pattern is gone, and is read no more", "topic", topic, "pattern", expr)
			}
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(now.subs)) {
		was, is := known.topics[topic].Partitions, now.topics[topic].Partitions
		if was > 0 && is > was {
			w.app.log.Info("a source topic has got more partitions, which are read from now on", "topic", topic, "partitions", is, "before", was)
		}
	}
}

// adopt goes on with what is known now of the topics: partitions that the group gave
// before they were known get their tasks, and the member joins for what it reads now.
func (a *App) adopt(ctx context.Context, now *topicSet) {
	a.mu.Lock()
	a.topics.Store(now)
	var left []link.Partition
	for _, p := range a.unknown {
		switch {
		case a.closing:
		case now.has(p):
			a.attach(p, 0, false)
		default:
			left = append(left, p)
		}
	}
	a.unknown = left
	a.begin()
	a.mu.Unlock()
	a.member.Subscribe(ctx, now.subscription(a.plan))
	a.refresh()
}

// wonder has the watcher look at the topics now.
func (a *App) wonder() { signal(a.unsure) }

// warn logs what an operator should know of the topics.
func (a *App) warn(findings []Finding) {
	for _, f := range findings {
		if f.Pattern {
			a.log.Info("a pattern "+f.Problem, "pattern", f.Topic)
			continue
		}
		a.log.Warn("a topic is not as it should be", "topic", f.Topic, "problem", f.Problem)
	}
}
