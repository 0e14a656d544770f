// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"log/slog"
	"math"
	"strconv"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime/link"
)

// limitsOf asks how large records may be in the topics that are written, so that a
// record that is larger is known before anything of it is sent: a failure that comes
// back from the broker would end the whole application.
func limitsOf(ctx context.Context, c link.Cluster, p *plan.Plan, log *slog.Logger) map[string]int {
	topics := map[string]bool{}
	for _, s := range p.Subs {
		for _, n := range s.Nodes {
			if n.Kind == plan.Sink && n.Topic != "" {
				topics[n.Topic] = true
			}
		}
		for _, st := range s.Stores {
			topics[p.Changelog(st.Name)] = true
		}
	}
	limits := map[string]int{}
	for topic := range topics {
		v, err := c.TopicConfig(ctx, topic, "max.message.bytes")
		if err != nil { // one that is made when it is first written, or one not to be described
			log.Debug("the largest record of a topic is not known", "topic", topic, "err", err)
			continue
		}
		if n, err := strconv.ParseInt(v, 10, 32); err == nil {
			limits[topic] = int(n)
			c.Limit(topic, int32(min(n, math.MaxInt32)))
		}
	}
	return limits
}

// maxRecord is how large a record may be in a topic.
func (a *App) maxRecord(topic string) int {
	if n, ok := a.topics.Load().limits[topic]; ok {
		return n
	}
	if n := a.cfg.Link.MaxRecordBytes; n > 0 {
		return int(n)
	}
	return link.DefaultMaxRecordBytes
}
