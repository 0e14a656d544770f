// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
)

// A Pattern has a source read all topics whose names match.
type Pattern struct {
	Expr    string // as its author wrote it; sources of one expression read the same topics
	Matches func(topic string) bool
}

// folder is the pattern's name where it stands for the name of a topic, as in a task's:
// no topic has one with a tilde.
func (p *Pattern) folder() string {
	plain := strings.Map(func(r rune) rune {
		if checkName(string(r)) == nil || r == '.' {
			return r
		}
		return '_'
	}, p.Expr)
	h := fnv.New32a()
	_, _ = h.Write([]byte(p.Expr))
	return fmt.Sprintf("%s~%08x", plain[:min(len(plain), 80)], h.Sum32())
}

// Matches are the topics that each pattern stands for at one time, by expression, in
// order of their names.
type Matches map[string][]string

// Equal tells whether m and other are the same topics.
func (m Matches) Equal(other Matches) bool {
	return maps.EqualFunc(m, other, slices.Equal[[]string])
}

// Of gives the topics that a source reads.
func (m Matches) Of(n *Node) []string {
	switch {
	case n.Pattern != nil:
		return m[n.Pattern.Expr]
	case n.Kind == Source:
		return []string{n.Topic}
	}
	return nil
}

// Topics gives the topics that a sub-topology reads, each once, in the order of its
// sources.
func (s *Sub) Topics(m Matches) []string {
	var topics []string
	for _, n := range s.Sources {
		for _, t := range m.Of(n) {
			if !slices.Contains(topics, t) {
				topics = append(topics, t)
			}
		}
	}
	return topics
}

// Patterns gives the expressions that a sub-topology reads, each once, in order.
func (s *Sub) Patterns() []string {
	var exprs []string
	for _, n := range s.Sources {
		if n.Pattern != nil && !slices.Contains(exprs, n.Pattern.Expr) {
			exprs = append(exprs, n.Pattern.Expr)
		}
	}
	return exprs
}

// Reads tells whether a source reads a topic.
func (n *Node) Reads(topic string) bool {
	if n.Pattern != nil {
		return n.Pattern.Matches(topic)
	}
	return n.Kind == Source && n.Topic == topic
}

// reads names what a source reads, for messages.
func (n *Node) reads() string {
	if n.Pattern != nil {
		return fmt.Sprintf("pattern %q", n.Pattern.Expr)
	}
	return fmt.Sprintf("topic %q", n.Topic)
}

// origin is what tells whether two sources are the same topics.
func (n *Node) origin() string {
	if n.Pattern != nil {
		return "~" + n.Pattern.Expr
	}
	return n.Topic
}

// Patterns gives the expressions of all sources, each once, in order.
func (p *Plan) Patterns() []string {
	var exprs []string
	for _, s := range p.Subs {
		exprs = append(exprs, s.Patterns()...)
	}
	return exprs
}

// HasPatterns tells whether any source is a pattern.
func (p *Plan) HasPatterns() bool { return len(p.Patterns()) > 0 }

// Match finds which of the topics that there are each pattern stands for. Topics of the
// brokers' own, whose names begin with two underscores, and the application's internal
// ones, those of its former versions too, are none of them.
func (p *Plan) Match(topics []string) (Matches, []Overlap) {
	m := Matches{}
	first := map[string]*Node{} // of a topic: who matches it
	topics = slices.Sorted(slices.Values(topics))
	seen := map[string]bool{}
	var overlaps []Overlap
	for _, s := range p.Subs {
		for _, n := range s.Sources {
			if n.Pattern == nil || seen[n.Pattern.Expr] {
				continue
			}
			seen[n.Pattern.Expr] = true
			for _, t := range topics {
				if !n.Pattern.Matches(t) || p.Private(t) {
					continue
				}
				if f := first[t]; f != nil {
					overlaps = append(overlaps, Overlap{t, fmt.Sprintf(
						"matches pattern %q (at %s) and pattern %q (at %s), and a topic has one source: let the patterns exclude each other",
						f.Pattern.Expr, f.Site, n.Pattern.Expr, n.Site)})
					continue
				}
				first[t] = n
				m[n.Pattern.Expr] = append(m[n.Pattern.Expr], t)
			}
		}
	}
	return m, overlaps
}

// An Overlap is a topic that two patterns match.
type Overlap struct {
	Topic   string
	Problem string // says of the topic what is wrong
}

// Private tells whether a topic is the brokers' own or an internal one of the
// application, which no pattern matches.
func (p *Plan) Private(topic string) bool {
	return strings.HasPrefix(topic, "__") || strings.HasPrefix(topic, p.App+"-") &&
		(strings.HasSuffix(topic, "-changelog") || strings.HasSuffix(topic, "-repartition"))
}

// checkPatterns finds topics that a pattern matches and another source reads.
func (g *Graph) checkPatterns() []error {
	var errs []error
	for _, n := range g.Nodes {
		if n.Pattern == nil {
			continue
		}
		told := map[string]bool{}
		for _, other := range g.Nodes {
			if other.Kind != Source || other.Pattern != nil || other.Internal || told[other.Topic] || !n.Pattern.Matches(other.Topic) {
				continue
			}
			told[other.Topic] = true
			errs = append(errs, fmt.Errorf("%s: pattern %q matches topic %q, which is read at %s as well: a topic has one source",
				n.Site, n.Pattern.Expr, other.Topic, other.Site))
		}
	}
	return errs
}
