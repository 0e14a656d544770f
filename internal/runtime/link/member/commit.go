// SPDX-License-Identifier: Apache-2.0

package member

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

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
