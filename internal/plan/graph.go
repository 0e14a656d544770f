// SPDX-License-Identifier: Apache-2.0

// Package plan is the logical graph of an application: what the DSL writes and
// the runtime reads. It holds nodes, edges, stores and topics, cuts the graph
// into sub-topologies at its repartition topics, and knows bytes, offsets and
// time, never a key's or a value's type.
package plan

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
)

// A Graph is under construction by one goroutine.
type Graph struct {
	App    string // application id
	Nodes  []*Node
	stores map[string]*Store
	errs   []error
}

// NewGraph starts the graph of an application.
func NewGraph(app string) *Graph {
	return &Graph{App: app, stores: map[string]*Store{}}
}

// Add puts n into the graph behind its parents and returns it.
func (g *Graph) Add(n *Node, parents ...*Node) *Node {
	n.ID = len(g.Nodes)
	n.Parents = parents
	g.Nodes = append(g.Nodes, n)
	for _, p := range parents {
		p.Children = append(p.Children, n)
	}
	return n
}

// AddStore registers a store. A second one of that name is an error.
func (g *Graph) AddStore(s *Store) *Store {
	if err := checkName(s.Name); err != nil {
		g.Fail(s.Site, "store %q: %w", s.Name, err)
	}
	if first, ok := g.stores[s.Name]; ok {
		g.Fail(s.Site, "store %q: the name is taken by the store of %s", s.Name, first.Site)
	}
	g.stores[s.Name] = s
	return s
}

// Fail notes an error of the definition; site is the file:line that it is about.
func (g *Graph) Fail(site, format string, args ...any) {
	g.errs = append(g.errs, fmt.Errorf("%s: "+format, append([]any{site}, args...)...))
}

// Changelog is the name of a store's changelog topic, as Kafka Streams has it.
func (g *Graph) Changelog(store string) string { return g.App + "-" + store + "-changelog" }

// Repartition is the name of a repartition topic, as Kafka Streams has it.
func (g *Graph) Repartition(name string) string { return g.App + "-" + name + "-repartition" }

// Check returns everything that is wrong with the definition, joined, each with
// the file and line of its call.
func (g *Graph) Check() error {
	errs := append([]error(nil), g.errs...)
	if err := checkName(g.App); err != nil {
		errs = append(errs, fmt.Errorf("application id %q: %w", g.App, err))
	}
	errs = append(errs, g.checkTimes()...)
	errs = append(errs, g.checkPatterns()...)
	errs = append(errs, g.checkRepartitions()...)
	if len(g.Nodes) == 0 {
		errs = append(errs, errors.New("the topology has no source"))
	}
	return errors.Join(errs...)
}

// checkRepartitions finds repartition topics that two steps write.
func (g *Graph) checkRepartitions() []error {
	var errs []error
	first := map[string]*Node{}
	for _, n := range g.Nodes {
		if n.Kind != Sink || !n.Internal {
			continue
		}
		if f := first[n.Topic]; f != nil {
			errs = append(errs, fmt.Errorf("%s: repartition topic %q: the name is taken by the step of %s", n.Site, n.Topic, f.Site))
		} else {
			first[n.Topic] = n
		}
	}
	return errs
}

// checkTimes finds topics whose records would have two times, or two beginnings.
func (g *Graph) checkTimes() []error {
	var errs []error
	first := map[string]*Node{}
	for _, n := range g.Nodes {
		if n.Kind != Source {
			continue
		}
		f := first[n.origin()]
		if f == nil {
			first[n.origin()] = n
		} else if f.Global != n.Global {
			errs = append(errs, fmt.Errorf(
				"%s: %s is read here and at %s, and one of them is a global table: a topic is either", n.Site, n.reads(), f.Site))
		} else if f.Extracts || n.Extracts {
			errs = append(errs, fmt.Errorf(
				"%s: %s is read here and at %s, and one of them takes the time from elsewhere: read it once", n.Site, n.reads(), f.Site))
		} else if f.Reset != n.Reset {
			errs = append(errs, fmt.Errorf(
				"%s: %s is read here and at %s, and they begin at different places: say the same, or read it once", n.Site, n.reads(), f.Site))
		}
	}
	return errs
}

// checkName holds the rule for what becomes part of a topic's name.
func checkName(s string) error {
	if s == "" {
		return errors.New("a name is needed")
	}
	if len(s) > 200 {
		return fmt.Errorf("%d bytes, at most 200", len(s))
	}
	for _, r := range s {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
		if !ok {
			return fmt.Errorf("%q is not a letter, digit, dot, underscore or hyphen", r)
		}
	}
	if s == "." || s == ".." {
		return errors.New("reserved")
	}
	return nil
}

const module = "github.com/millrace/millrace/"

// Site is the file:line of the first caller outside of this module's library
// packages: the line of the program that defines the step.
func Site() string {
	var pcs [24]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if !library(f) || !more {
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
	}
}

// library tells whether a frame is in the DSL or below it. Tests and examples
// are programs.
func library(f runtime.Frame) bool {
	rest, ok := strings.CutPrefix(f.Function, module)
	if !ok || strings.HasSuffix(f.File, "_test.go") {
		return false
	}
	for _, p := range []string{"kstream", "ktable", "processor", "topic", "internal/"} {
		if strings.HasPrefix(rest, p) {
			return true
		}
	}
	return false
}
