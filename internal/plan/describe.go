// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Description tells what a topology consists of. It says nothing that differs
// between two builds of the same program, so it can be compared with one of before.
type Description struct {
	Application    string           `json:"application"`
	SubTopologies  []SubDescription `json:"subTopologies"`
	InternalTopics []InternalTopic  `json:"internalTopics"`
}

// A SubDescription tells of the steps that run in one task for each partition.
type SubDescription struct {
	Name   string             `json:"name"` // the topic of its first source, or one made of its pattern
	Nodes  []NodeDescription  `json:"nodes"`
	Stores []StoreDescription `json:"stores"`
	Global bool               `json:"global,omitempty"` // of a global table: each instance runs it once
}

// A NodeDescription tells of one step.
type NodeDescription struct {
	Name    string   `json:"name"`              // what it does, its place in the definition, and its name if it has one
	Kind    string   `json:"kind"`              // "source", "processor" or "sink"
	Topic   string   `json:"topic,omitempty"`   // of a source or a sink; "" if records choose it, or a pattern its topics
	Pattern string   `json:"pattern,omitempty"` // of a source of all topics that match
	Stores  []string `json:"stores,omitempty"`  // that it reads or writes
	From    []string `json:"from,omitempty"`    // the steps before it
	To      []string `json:"to,omitempty"`      // the steps behind it
}

// A StoreDescription tells of a store.
type StoreDescription struct {
	Name      string `json:"name"`
	Changelog string `json:"changelog,omitempty"` // its topic
}

// An InternalTopic is a topic that the application makes for itself.
type InternalTopic struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // "repartition" or "changelog"
}

// Describe tells what the plan consists of.
func (p *Plan) Describe() *Description {
	d := &Description{Application: p.App, SubTopologies: []SubDescription{}, InternalTopics: []InternalTopic{}}
	for _, s := range p.Subs {
		sub := SubDescription{Name: s.Name, Stores: []StoreDescription{}}
		for _, n := range s.Nodes {
			sub.Nodes = append(sub.Nodes, n.describe())
		}
		for _, st := range s.Stores {
			sub.Stores = append(sub.Stores, StoreDescription{st.Name, p.Changelog(st.Name)})
		}
		d.SubTopologies = append(d.SubTopologies, sub)
	}
	for _, s := range p.Globals {
		sub := SubDescription{Name: s.Name, Global: true}
		for _, n := range s.Nodes {
			sub.Nodes = append(sub.Nodes, n.describe())
		}
		for _, st := range s.Stores {
			sub.Stores = append(sub.Stores, StoreDescription{st.Name, s.Name}) // the topic is its changelog
		}
		d.SubTopologies = append(d.SubTopologies, sub)
	}
	for _, in := range p.Internals(nil) {
		kind := "repartition"
		if in.Changelog {
			kind = "changelog"
		}
		d.InternalTopics = append(d.InternalTopics, InternalTopic{in.Name, kind})
	}
	return d
}

func (n *Node) describe() NodeDescription {
	d := NodeDescription{Name: n.label(), Kind: "processor", Topic: n.Topic}
	switch n.Kind {
	case Source:
		d.Kind = "source"
		if n.Pattern != nil {
			d.Pattern = n.Pattern.Expr
		}
	case Sink:
		d.Kind = "sink"
	case Operator:
	}
	for _, s := range n.Stores {
		d.Stores = append(d.Stores, s.Name)
	}
	for _, p := range n.Parents {
		d.From = append(d.From, p.label())
	}
	for _, c := range n.Children {
		d.To = append(d.To, c.label())
	}
	return d
}

// label is a name without spaces that no other step has.
func (n *Node) label() string {
	s := strings.ReplaceAll(n.Op, " ", "-") + "-" + strconv.Itoa(n.ID)
	if n.Name != "" {
		s += "-" + n.Name
	}
	return s
}

// Formats are those that [Description.Format] knows.
var Formats = [...]string{"text", "mermaid", "dot", "json"}

// Format gives the description in one of [Formats].
func (d *Description) Format(format string) (string, error) {
	switch format {
	case "text":
		return d.String(), nil
	case "mermaid":
		return d.Mermaid(), nil
	case "dot":
		return d.DOT(), nil
	case "json":
		return d.JSON(), nil
	}
	return "", fmt.Errorf("format %q: there are %s", format, strings.Join(Formats[:], ", "))
}

// String gives the description as Kafka Streams' TopologyDescription writes it, so that
// the tools that draw those read it.
func (d *Description) String() string {
	var b strings.Builder
	b.WriteString("Topologies:\n")
	for i, s := range d.SubTopologies {
		fmt.Fprintf(&b, "   Sub-topology: %d", i)
		if s.Global {
			b.WriteString(" for global store (will not generate tasks)")
		}
		b.WriteByte('\n')
		for _, n := range s.Nodes {
			n.text(&b)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (n NodeDescription) text(b *strings.Builder) {
	switch n.Kind {
	case "source":
		topics := "[" + n.Topic + "]"
		if n.Pattern != "" {
			topics = n.Pattern
		}
		fmt.Fprintf(b, "    Source: %s (topics: %s)\n", n.Name, topics)
	case "sink":
		topic := n.Topic
		if topic == "" {
			topic = "chosen by record"
		}
		fmt.Fprintf(b, "    Sink: %s (topic: %s)\n", n.Name, topic)
	default:
		fmt.Fprintf(b, "    Processor: %s (stores: [%s])\n", n.Name, strings.Join(n.Stores, ", "))
	}
	if n.Kind != "sink" {
		fmt.Fprintf(b, "      --> %s\n", orNone(n.To))
	}
	if n.Kind != "source" {
		fmt.Fprintf(b, "      <-- %s\n", orNone(n.From))
	}
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// JSON gives the description as an indented JSON object, with the names of the struct
// tags.
func (d *Description) JSON() string {
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil { // strings, slices and structs can be marshalled
		panic(err)
	}
	return string(b) + "\n"
}

// A drawing is a description as a graph: topics and stores are nodes, too.
type drawing struct {
	ids   map[string]string // of steps, topics and stores
	order []string          // of topics, as they are met
}

func (d *Description) drawing() *drawing {
	g := &drawing{ids: map[string]string{}}
	for _, s := range d.SubTopologies {
		for _, n := range s.Nodes {
			g.id("n", n.Name)
			if t := n.topics(); t != "" && !slices.Contains(g.order, t) {
				g.order = append(g.order, t)
			}
		}
		for _, st := range s.Stores {
			g.id("s", st.Name)
		}
	}
	for _, t := range g.order {
		g.id("t", t)
	}
	return g
}

// topics is what stands for the topic, or the topics, of a step in a drawing.
func (n NodeDescription) topics() string {
	if n.Pattern != "" {
		return "topics " + n.Pattern
	}
	return n.Topic
}

// id gives a node of the graph: kind is n for a step, t for a topic, s for a store.
func (g *drawing) id(kind, name string) string {
	key := kind + " " + name
	if g.ids[key] == "" {
		g.ids[key] = kind + strconv.Itoa(len(g.ids))
	}
	return g.ids[key]
}

// Mermaid gives the description as a flowchart of Mermaid, which GitHub and many
// wikis draw.
func (d *Description) Mermaid() string {
	g := d.drawing()
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	for _, t := range g.order {
		fmt.Fprintf(&b, "  %s[/\"%s\"/]\n", g.id("t", t), mermaidText(t))
	}
	for i, s := range d.SubTopologies {
		fmt.Fprintf(&b, "  subgraph sub%d [\"%s\"]\n", i, s.Name)
		for _, n := range s.Nodes {
			fmt.Fprintf(&b, "    %s[\"%s\"]\n", g.id("n", n.Name), mermaidText(n.Name))
		}
		for _, st := range s.Stores {
			fmt.Fprintf(&b, "    %s[(\"%s\")]\n", g.id("s", st.Name), st.Name)
		}
		b.WriteString("  end\n")
	}
	d.edges(g, func(from, to string, state bool) {
		arrow := "-->"
		if state {
			arrow = "-.-"
		}
		fmt.Fprintf(&b, "  %s %s %s\n", from, arrow, to)
	})
	return b.String()
}

// mermaidText writes what would end a quoted text as an entity.
func mermaidText(s string) string { return strings.ReplaceAll(s, `"`, "#quot;") }

// DOT gives the description as a graph for Graphviz.
func (d *Description) DOT() string {
	g := d.drawing()
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %q {\n  node [shape=box]\n", d.Application)
	for _, t := range g.order {
		fmt.Fprintf(&b, "  %s [label=%q, shape=cds]\n", g.id("t", t), t)
	}
	for i, s := range d.SubTopologies {
		fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label=%q\n", i, s.Name)
		for _, n := range s.Nodes {
			fmt.Fprintf(&b, "    %s [label=%q]\n", g.id("n", n.Name), n.Name)
		}
		for _, st := range s.Stores {
			fmt.Fprintf(&b, "    %s [label=%q, shape=cylinder]\n", g.id("s", st.Name), st.Name)
		}
		b.WriteString("  }\n")
	}
	d.edges(g, func(from, to string, state bool) {
		style := ""
		if state {
			style = " [dir=none, style=dashed]"
		}
		fmt.Fprintf(&b, "  %s -> %s%s\n", from, to, style)
	})
	b.WriteString("}\n")
	return b.String()
}

// edges calls draw for each edge of the drawing, in the order of the steps.
func (d *Description) edges(g *drawing, draw func(from, to string, state bool)) {
	for _, s := range d.SubTopologies {
		for _, n := range s.Nodes {
			me := g.id("n", n.Name)
			if t := n.topics(); t != "" && n.Kind == "source" {
				draw(g.id("t", t), me, false)
			}
			for _, to := range n.To {
				draw(me, g.id("n", to), false)
			}
			for _, st := range n.Stores {
				draw(me, g.id("s", st), true)
			}
			if t := n.topics(); t != "" && n.Kind == "sink" {
				draw(me, g.id("t", t), false)
			}
		}
	}
}
