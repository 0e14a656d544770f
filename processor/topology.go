// SPDX-License-Identifier: Apache-2.0

package processor

import "github.com/millrace/millrace/internal/plan"

// A Topology is the definition of a streaming application: what the packages
// kstream and ktable add steps to, and [Start] runs. It is built by one
// goroutine and not changed after it was started.
type Topology struct {
	graph *plan.Graph
}

// NewTopology begins the definition of an application. Its id names the consumer
// group, prefixes the internal topics (<id>-<name>-repartition and
// <id>-<name>-changelog) and must be the same in every instance and release.
func NewTopology(applicationID string) *Topology {
	return &Topology{graph: plan.NewGraph(applicationID)}
}

// ApplicationID is the id that NewTopology was given.
func (t *Topology) ApplicationID() string { return t.graph.App }

// Check returns all that is wrong with the definition, joined: a type without an
// encoding, a name that is missing, taken or not a topic's. Each error begins
// with the file and line of the call that it is about.
func (t *Topology) Check() error { return t.graph.Check() }

// Graph is the definition as the DSL packages of this module extend it.
func (t *Topology) Graph() *plan.Graph { return t.graph }
