// SPDX-License-Identifier: Apache-2.0

package group

import (
	"cmp"
	"regexp"
	"slices"
)

// A Topic is what the coordinator knows of a topic.
type Topic struct {
	Name       string
	ID         [16]byte
	Partitions int32
}

// Topics is a picture of all topics at one time. It never changes, and may be
// read from many goroutines. The assignors of consumer groups work on it.
type Topics struct {
	byName map[string]*Topic
	byID   map[[16]byte]*Topic
	names  []string // in order
}

// NewTopics returns the picture of topics, whose names and ids differ.
func NewTopics(topics []Topic) *Topics {
	t := &Topics{
		byName: make(map[string]*Topic, len(topics)),
		byID:   make(map[[16]byte]*Topic, len(topics)),
	}
	own := slices.Clone(topics)
	slices.SortFunc(own, func(a, b Topic) int { return cmp.Compare(a.Name, b.Name) })
	for i := range own {
		t.byName[own[i].Name], t.byID[own[i].ID] = &own[i], &own[i]
		t.names = append(t.names, own[i].Name)
	}
	return t
}

// noTopics is the picture of a coordinator that was given none.
var noTopics = NewTopics(nil)

// matching returns the names that re matches, in order.
func (t *Topics) matching(re *regexp.Regexp) []string {
	var names []string
	for _, n := range t.names {
		if re.MatchString(n) {
			names = append(names, n)
		}
	}
	return names
}

// compileSubscription compiles a SubscribedTopicRegex: RE2, which Go's package
// regexp is too, and for the whole name of a topic.
func compileSubscription(expr string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(expr); err != nil {
		return nil, err // not hidden by the brackets below
	}
	return regexp.Compile(`\A(?:` + expr + `)\z`)
}

// A topicsEvent hands the core a new picture of all topics. Groups look at it
// when one of their members sends its next heartbeat. It has no reply.
type topicsEvent struct{ topics *Topics }

// needsTopics reports whether what ev does hangs on the topics that there are.
func (c *core) needsTopics(ev event) bool {
	var id string
	switch e := ev.(type) {
	case consumerHeartbeatEvent, consumerDescribeEvent:
		return true
	case joinEvent:
		id = e.req.Group
	case syncEvent:
		id = e.req.Group
	case leaveEvent:
		id = e.req.Group
	case commitEvent:
		id = e.req.Group
	}
	g := c.groups[id]
	return g != nil && g.modern != nil
}

func (e topicsEvent) apply(c *core) { c.topics = e.topics }
