// SPDX-License-Identifier: Apache-2.0

package processor

import (
	"fmt"

	"github.com/millrace/millrace/internal/plan"
)

// A Description tells what a topology consists of: sub-topologies with their steps and
// stores, and internal topics. Its methods give it as text in the form of Kafka Streams'
// TopologyDescription (String), as Mermaid, DOT or JSON. It is the same for each build of
// the same program, so a test can compare it with a file: then a change that renames a
// store or moves a step to another task does not go unseen.
type Description = plan.Description

// SubDescription tells of the steps of a topology that run in one task for each
// partition.
type SubDescription = plan.SubDescription

// NodeDescription tells of a step of a topology.
type NodeDescription = plan.NodeDescription

// StoreDescription tells of a store of a topology.
type StoreDescription = plan.StoreDescription

// InternalTopic is a topic that an application makes for itself.
type InternalTopic = plan.InternalTopic

// Describe tells what t consists of. The error is that of Check: what is wrong cannot be
// described.
func (t *Topology) Describe() (*Description, error) {
	p, err := t.graph.Build()
	if err != nil {
		return nil, fmt.Errorf("topology %s:\n%w", t.ApplicationID(), err)
	}
	return p.Describe(), nil
}
