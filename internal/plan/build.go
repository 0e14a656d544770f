// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"maps"
	"slices"
)

// A Plan is a checked graph, cut into sub-topologies.
type Plan struct {
	App  string
	Subs []*Sub // in the order of their first nodes
	// Globals are those of global stores: each instance runs all of them, over all
	// partitions. Their stores have no changelog but the topic, and all tasks read them.
	Globals []*Sub
}

// A Sub is a sub-topology: the nodes that one record can reach without leaving
// through a topic, and the stores they share. A task is a Sub and a partition.
type Sub struct {
	// Name is that of its first source's topic, or one made of its pattern, which no
	// other Sub reads: it stays when the rest of the topology changes, and so does the
	// state's folder.
	Name    string
	Nodes   []*Node // in the order of definition: parents first
	Sources []*Node // several may read one topic: each then gets every record of it
	Stores  []*Store
}

// Build checks the graph and cuts it.
func (g *Graph) Build() (*Plan, error) {
	if err := g.Check(); err != nil {
		return nil, err
	}
	p := &Plan{App: g.App}
	root := g.components()
	subs := map[*Node]*Sub{}
	for _, n := range g.Nodes {
		r := root(n)
		s := subs[r]
		if s == nil {
			s = &Sub{}
			subs[r] = s
		}
		if len(s.Nodes) == 0 && n.Global { // a source, which nothing is before
			p.Globals = append(p.Globals, s)
		} else if len(s.Nodes) == 0 {
			p.Subs = append(p.Subs, s)
		}
		s.add(n)
	}
	return p, nil
}

func (s *Sub) add(n *Node) {
	s.Nodes = append(s.Nodes, n)
	if n.Kind == Source {
		if s.Name == "" {
			s.Name = n.Topic
			if n.Pattern != nil {
				s.Name = n.Pattern.folder()
			}
		}
		s.Sources = append(s.Sources, n)
	}
	for _, st := range n.Stores {
		if !slices.Contains(s.Stores, st) {
			s.Stores = append(s.Stores, st)
		}
	}
}

// components gives each node's representative: nodes joined by an edge, by a
// store or by the topic that they read are one sub-topology. A repartition topic
// written here and read there is no edge.
func (g *Graph) components() func(*Node) *Node {
	up := map[*Node]*Node{}
	find := func(n *Node) *Node {
		for up[n] != nil {
			n = up[n]
		}
		return n
	}
	join := func(a, b *Node) {
		if a, b = find(a), find(b); a != b {
			if b.ID < a.ID {
				a, b = b, a
			}
			up[b] = a
		}
	}
	owner := map[*Store]*Node{}
	source := map[string]*Node{}
	for _, n := range g.Nodes {
		if n.Kind == Source {
			if first := source[n.origin()]; first != nil {
				join(first, n)
			}
			source[n.origin()] = n
		}
		for _, p := range n.Parents {
			join(p, n)
		}
		for _, s := range n.Stores {
			if first := owner[s]; first != nil {
				join(first, n)
			}
			owner[s] = n
		}
	}
	return find
}

// Internal is a topic that the application keeps for itself.
type Internal struct {
	Name      string
	Changelog bool     // else a repartition topic
	Sources   []string // the topics whose partition counts it follows: the largest
	// Partitions is how many a repartition topic has; 0: it follows Sources.
	Partitions int32
}

// Internals lists the internal topics, repartition topics before what depends
// on them, so that partition counts can be settled in order. m is what patterns stand
// for; without it the Sources lack those topics.
func (p *Plan) Internals(m Matches) []Internal {
	var reps, logs []Internal
	for _, s := range p.Subs {
		topics := s.Topics(m)
		for _, n := range s.Nodes {
			if n.Kind == Sink && n.Internal {
				reps = append(reps, Internal{Name: n.Topic, Sources: topics, Partitions: n.Partitions})
			}
		}
		for _, st := range s.Stores {
			logs = append(logs, Internal{Name: p.Changelog(st.Name), Changelog: true, Sources: topics})
		}
	}
	return append(reps, logs...)
}

// Copartitioned gives the groups of source topics whose records meet in a store, so
// that they must have as many partitions as each other. Names are sorted.
func (p *Plan) Copartitioned(m Matches) [][]string {
	group := map[string]map[string]bool{} // by topic: the set that it is in
	var order []map[string]bool
	for _, s := range p.Subs {
		for _, st := range s.Stores {
			met := map[string]bool{}
			for _, n := range s.Nodes {
				if slices.Contains(n.Stores, st) {
					sourcesOf(n, m, met, map[*Node]bool{})
				}
			}
			for topic := range met {
				for other := range group[topic] {
					met[other] = true
				}
			}
			order = append(order, met)
			for topic := range met {
				group[topic] = met
			}
		}
	}
	var groups [][]string
	for _, met := range order {
		names := slices.Sorted(maps.Keys(met))
		if len(names) > 0 && maps.Equal(group[names[0]], met) && !slices.ContainsFunc(groups, func(g []string) bool { return slices.Equal(g, names) }) {
			groups = append(groups, names)
		}
	}
	return groups
}

// sourcesOf adds the topics whose records reach n.
func sourcesOf(n *Node, m Matches, topics map[string]bool, seen map[*Node]bool) {
	if seen[n] {
		return
	}
	seen[n] = true
	for _, t := range m.Of(n) {
		topics[t] = true
	}
	for _, p := range n.Parents {
		sourcesOf(p, m, topics, seen)
	}
}

// Changelog is the name of a store's changelog topic.
func (p *Plan) Changelog(store string) string { return (&Graph{App: p.App}).Changelog(store) }
