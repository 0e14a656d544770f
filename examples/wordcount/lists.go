// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A fileList is what is fed into one partition, in order.
type fileList struct {
	first int64 // offset of files[0] in the list's partition
	from  int64 // bytes of files[0] that are fed already
	files []file
}

// skip drops what is fed according to the last line of the partition.
func (l *fileList) skip(at place) {
	n := min(at.file-l.first, int64(len(l.files)))
	if n < 0 {
		return // nothing of this list was fed
	}
	l.files, l.first, l.from = l.files[n:], l.first+n, at.end
}

// bytes is how much is left to feed.
func (l *fileList) bytes() int64 {
	sum := -l.from
	for _, f := range l.files {
		sum += f.size
	}
	return max(sum, 0)
}

// listed is a file as a record of the files topic holds it.
type listed struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
}

// readLists reads what earlier runs listed, and the paths in it.
func (f *feeder) readLists(ctx context.Context) ([]fileList, map[string]bool, error) {
	lists, known := make([]fileList, f.partitions), map[string]bool{}
	err := f.read(ctx, filesTopic, startOf, func(r *kgo.Record) error {
		var l listed
		if err := json.Unmarshal(r.Value, &l); err != nil {
			return fmt.Errorf("%s, partition %d, offset %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
		known[l.Path] = true
		lists[r.Partition].files = append(lists[r.Partition].files, file{l.Path, l.Size})
		return nil
	})
	return lists, known, err
}

// extend puts the files that are in no list at the end of the shortest ones, and
// has that on record before any of their lines is sent.
func (f *feeder) extend(ctx context.Context, lists []fileList, known map[string]bool, given []file) error {
	sizes := make([]int64, len(lists))
	for i := range lists {
		sizes[i] = lists[i].bytes()
	}
	var records []*kgo.Record
	for _, file := range given {
		if known[file.path] {
			continue
		}
		known[file.path] = true
		p := slices.Index(sizes, slices.Min(sizes))
		sizes[p] += file.size
		lists[p].files = append(lists[p].files, file)
		value, err := json.Marshal(listed{file.path, file.size})
		if err != nil {
			return err
		}
		records = append(records, &kgo.Record{Topic: filesTopic, Partition: int32(p), Value: value})
	}
	return f.client.ProduceSync(ctx, records...).FirstErr()
}

// lastPlaces finds how far the feeding of each partition has come.
func (f *feeder) lastPlaces(ctx context.Context) ([]place, error) {
	places, found := make([]place, f.partitions), make([]bool, f.partitions)
	for p := range places {
		places[p].file = -1
	}
	note := func(r *kgo.Record) error {
		if at, ok := placeOf(r); ok {
			places[r.Partition], found[r.Partition] = at, true
		}
		return nil
	}
	if err := f.read(ctx, Lines.Name(), lastOf, note); err != nil {
		return nil, err
	}
	if slices.Contains(found, false) {
		// Somebody else has written to the topic, or a partition is empty.
		if err := f.read(ctx, Lines.Name(), startOf, note); err != nil {
			return nil, err
		}
	}
	return places, nil
}

func startOf(start, _ int64) int64 { return start }

func lastOf(start, end int64) int64 { return max(start, end-1) }

// read calls f with the records of a topic, from where from says, given a
// partition's first offset and its end, up to its present end.
func (f *feeder) read(ctx context.Context, topic string, from func(start, end int64) int64, each func(*kgo.Record) error) error {
	admin := kadm.NewClient(f.client)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return err
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	left, offsets := map[int32]int64{}, map[int32]kgo.Offset{}
	for p := range f.partitions {
		start, _ := starts.Lookup(topic, p)
		end, _ := ends.Lookup(topic, p)
		if at := from(start.Offset, end.Offset); at < end.Offset {
			left[p], offsets[p] = end.Offset, kgo.NewOffset().At(at)
		}
	}
	if len(left) == 0 {
		return nil
	}
	f.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets})
	defer f.client.PurgeTopicsFromConsuming(topic)
	for len(left) > 0 {
		fetches := f.client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return err
		}
		for r := range fetches.RecordsAll() {
			if end, ok := left[r.Partition]; r.Topic != topic || !ok || r.Offset >= end {
				continue
			}
			if err := each(r); err != nil {
				return err
			}
			if r.Offset == left[r.Partition]-1 {
				delete(left, r.Partition)
			}
		}
	}
	return nil
}
