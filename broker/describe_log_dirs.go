// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/vfs"
)

// DescribeLogDirs (35), versions 1-5: the one data directory, the bytes of the
// logs in it, and the room on its disk where that is known.

func (b *Broker) describeLogDirs(_ context.Context, r *request) kmsg.Response {
	req := r.Request.(*kmsg.DescribeLogDirsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse)
	dir := kmsg.NewDescribeLogDirsResponseDir()
	dir.Dir, dir.TotalBytes, dir.UsableBytes = b.cfg.Dir, -1, -1
	if s, ok := b.cfg.FS.(vfs.Spacer); ok {
		total, usable, err := s.Space(b.cfg.Dir)
		switch {
		case errors.Is(err, errors.ErrUnsupported):
		case err != nil:
			b.log.Warn("room on the disk", "dir", b.cfg.Dir, "err", err)
			dir.ErrorCode = kerr.KafkaStorageError.Code
		default:
			dir.TotalBytes, dir.UsableBytes = total, usable
		}
	}
	dir.Topics = []kmsg.DescribeLogDirsResponseDirTopic{}
	if req.Topics == nil {
		for _, t := range b.topics.all() {
			dir.Topics = append(dir.Topics, sizes(t, t.partitions()))
		}
	}
	for i := range req.Topics {
		if t := b.topics.named(req.Topics[i].Topic); t != nil {
			if parts := t.some(req.Topics[i].Partitions); len(parts) > 0 {
				dir.Topics = append(dir.Topics, sizes(t, parts))
			}
		}
	}
	resp.Dirs = append(resp.Dirs, dir)
	return resp
}

// some are the partitions with the numbers given, each once, those that there are.
func (t *topic) some(numbers []int32) []*partition {
	var parts []*partition
	numbers = slices.Compact(slices.Sorted(slices.Values(numbers)))
	for _, i := range numbers {
		if p := t.partition(i); p != nil {
			parts = append(parts, p)
		}
	}
	return parts
}

func sizes(t *topic, parts []*partition) kmsg.DescribeLogDirsResponseDirTopic {
	at := kmsg.NewDescribeLogDirsResponseDirTopic()
	at.Topic = t.name
	for _, p := range parts {
		ap := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
		ap.Partition, ap.Size = p.index, p.log.Size()
		at.Partitions = append(at.Partitions, ap)
	}
	return at
}
