// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// filesTopic holds, a partition for each of the lines topic, the list of the
// files that are fed into that partition: a record a file, in the order of
// feeding. Each line says in a header which file of the list it is from and where
// it ends there. So the last line of a partition tells how far its feeding came,
// and a run that follows a crash goes on exactly there: nothing is fed twice.
const filesTopic = "wordcount-files"

// A place is how far the feeding of a partition has come.
type place struct {
	file int64 // offset in the partition's list of files; -1 before the first
	end  int64 // bytes of it that are fed
}

const placeHeader = "at"

func (p place) header() kgo.RecordHeader {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 16), uint64(p.file))
	return kgo.RecordHeader{Key: placeHeader, Value: binary.BigEndian.AppendUint64(b, uint64(p.end))}
}

func placeOf(r *kgo.Record) (place, bool) {
	for _, h := range r.Headers {
		if h.Key == placeHeader && len(h.Value) == 16 {
			return place{int64(binary.BigEndian.Uint64(h.Value)), int64(binary.BigEndian.Uint64(h.Value[8:]))}, true
		}
	}
	return place{}, false
}

// A feeder writes lines to the lines topic.
type feeder struct {
	client     *kgo.Client
	partitions int32

	lines, bytes atomic.Int64 // acknowledged in this run
	total        atomic.Int64 // bytes that this run has to feed
	failed       atomic.Pointer[error]
}

// files feeds all that earlier runs listed and did not finish, and then those of
// the given files that are in no list.
func (f *feeder) files(ctx context.Context, given []file) error {
	lists, known, err := f.readLists(ctx)
	if err != nil {
		return fmt.Errorf("read the lists of files: %w", err)
	}
	if err := f.extend(ctx, lists, known, given); err != nil {
		return fmt.Errorf("extend the lists of files: %w", err)
	}
	places, err := f.lastPlaces(ctx)
	if err != nil {
		return fmt.Errorf("find where the feeding stopped: %w", err)
	}
	for p := range lists {
		lists[p].skip(places[p])
		f.total.Add(lists[p].bytes())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(lists))
	var wg sync.WaitGroup
	for p := range lists {
		wg.Go(func() {
			if errs[p] = f.feedList(ctx, int32(p), lists[p]); errs[p] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, f.flush(ctx))...)
}

// stdin feeds the lines of r, spread over the partitions, until its end.
func (f *feeder) stdin(ctx context.Context, r io.Reader) error {
	places, err := f.lastPlaces(ctx)
	if err != nil {
		return fmt.Errorf("find where the feeding stopped: %w", err)
	}
	next := int32(0)
	err = eachLine(r, func(line []byte, _ int64) error {
		next = (next + 1) % f.partitions
		return f.send(ctx, next, line, places[next])
	})
	return errors.Join(err, f.flush(ctx))
}

func (f *feeder) feedList(ctx context.Context, p int32, l fileList) error {
	for i, file := range l.files {
		at := place{file: l.first + int64(i)}
		if i == 0 {
			at.end = l.from
		}
		if err := f.feedFile(ctx, p, file.path, at); err != nil {
			return err
		}
	}
	return nil
}

// feedFile sends a file's lines from at on. A file that has gone since it was
// listed is left out.
func (f *feeder) feedFile(ctx context.Context, p int32, path string, at place) error {
	r, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	start := at.end
	if _, err := r.Seek(start, io.SeekStart); err != nil {
		return err
	}
	return eachLine(r, func(line []byte, end int64) error {
		return f.send(ctx, p, line, place{at.file, start + end})
	})
}

// send hands a line to the client, which waits when it holds too many.
func (f *feeder) send(ctx context.Context, p int32, line []byte, at place) error {
	if err := f.failed.Load(); err != nil {
		return *err
	}
	r := &kgo.Record{
		Topic: Lines.Name(), Partition: p, Value: append([]byte{}, line...),
		Timestamp: time.Now(), Headers: []kgo.RecordHeader{at.header()},
	}
	f.client.Produce(ctx, r, func(r *kgo.Record, err error) {
		if err != nil {
			err = fmt.Errorf("produce a line: %w", err)
			f.failed.CompareAndSwap(nil, &err)
			return
		}
		f.lines.Add(1)
		f.bytes.Add(int64(len(r.Value)) + 1)
	})
	return ctx.Err()
}

func (f *feeder) flush(ctx context.Context) error {
	if err := f.client.Flush(ctx); err != nil {
		return err
	}
	if err := f.failed.Load(); err != nil {
		return *err
	}
	return nil
}
