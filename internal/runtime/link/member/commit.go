// SPDX-License-Identifier: Apache-2.0

package member

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millrace/millrace/internal/runtime/assign"
)

// A Commit is offsets on their way to the group. It is the member's for as long as it
// keeps the partitions: what it loses and gets back has meanwhile been read and
// committed by another, and a commit from before would take the group back.
type Commit struct {
	core  *Core
	terms map[assign.Partition]int
}

// Commit begins a commit of those of the partitions that are owned.
func (c *Core) Commit(parts ...assign.Partition) *Commit {
	k := &Commit{c, map[assign.Partition]int{}}
	for _, p := range parts {
		if term, ok := c.owned[p]; ok {
			k.terms[p] = term
		}
	}
	return k
}

// Holds says whether a partition's offset is still the member's to commit.
func (k *Commit) Holds(p assign.Partition) bool {
	term, ok := k.terms[p]
	return ok && k.core.owned[p] == term
}

// A Verdict is what becomes of a commit after the group's answer.
type Verdict int

// The verdicts.
const (
	Done   Verdict = iota
	Again          // after a while, for what is still owned
	Fenced         // another process runs under the same instance id: this one must stop
	Failed
)

// Judge tells what an error of a committed partition means. Those of a rebalance, or
// of a coordinator that moves, end with it: a commit that was on its way when its
// generation ended is tried again in the next, as long as its partitions are owned.
func Judge(err error) Verdict {
	switch {
	case err == nil:
		return Done
	case errors.Is(err, kerr.FencedInstanceID):
		return Fenced
	case kerr.IsRetriable(err), errors.Is(err, kerr.RebalanceInProgress),
		errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.UnknownMemberID):
		return Again
	}
	return Failed
}
