// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"slices"
	"strings"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link"
)

// leftovers lists topics that are named as internal ones of the application and belong to
// nothing in its plan: of a store or a grouping that was removed or has another name now.
// A topic of another application whose id begins with this one's looks alike, so they are
// told of and no more.
func leftovers(ctx context.Context, c link.Cluster, p *plan.Plan, m plan.Matches) ([]string, error) {
	all, err := c.AllTopics(ctx)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, in := range p.Internals(m) {
		used[in.Name] = true
	}
	var left []string
	for name := range all {
		rest, ours := strings.CutPrefix(name, p.App+"-")
		if ours && !used[name] && (strings.HasSuffix(rest, "-changelog") || strings.HasSuffix(rest, "-repartition")) {
			left = append(left, name)
		}
	}
	slices.Sort(left)
	return left, nil
}

// tellLeftovers logs them once, at the start.
func (a *App) tellLeftovers(ctx context.Context, m plan.Matches) {
	left, err := leftovers(ctx, a.cluster, a.plan, m)
	switch {
	case err != nil:
		a.log.Debug("topics that the application may have left are not known", "err", err)
	case len(left) > 0:
		a.log.Info("topics look like internal ones of this application and belong to nothing in its topology: of steps that were removed or renamed, or of another application", "topics", left)
	}
}
