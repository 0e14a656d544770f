// SPDX-License-Identifier: Apache-2.0

package processor

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
)

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

// A Finding is something about a topic that matters to the application: one that is
// missing, of the wrong size, or with a config that does not fit. A Fatal one keeps
// the application from starting.
type Finding = runtime.Finding

// Preflight compares what t needs with what the cluster of cfg has, and changes
// nothing: source topics that are missing, topics whose records meet and that differ
// in their partitions, internal topics that do not fit or will be made at the start.
// Start refuses what is fatal of it. The error is that of the definition, of the
// configuration, or of a cluster that does not answer before ctx ends.
func (t *Topology) Preflight(ctx context.Context, cfg Config) ([]Finding, error) {
	p, err := t.graph.Build()
	if err != nil {
		return nil, fmt.Errorf("topology %s:\n%w", t.ApplicationID(), err)
	}
	findings, err := runtime.Preflight(ctx, p, cfg.runtime())
	if err != nil {
		return nil, fmt.Errorf("preflight of %s: %w", t.ApplicationID(), err)
	}
	return findings, nil
}

// Graph is the definition as the DSL packages of this module extend it.
func (t *Topology) Graph() *plan.Graph { return t.graph }
