// SPDX-License-Identifier: Apache-2.0

package records

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// An input says how records are read.
type input struct {
	keySeparator string
	headers      []string
	partition    int32
	null         string
	kind         string // lines or json

	separator []byte
	fixed     []kgo.RecordHeader
}

// maxLine is the longest line that is read: longer than any broker takes.
const maxLine = 128 << 20

func (in *input) add(cmd *cobra.Command) {
	p := cmd.Flags()
	p.StringVarP(&in.keySeparator, "key-separator", "K", "", `what stands between key and value; empty: there are no keys. \t is a tab`)
	p.StringArrayVarP(&in.headers, "header", "H", nil, "`name=value` for each record; may be repeated")
	p.Int32VarP(&in.partition, "partition", "p", -1, "partition; -1: by the key's hash, as Kafka does")
	p.StringVarP(&in.null, "null", "Z", "", "a key or value of this `text` is null; empty: none is")
	p.StringVar(&in.kind, "input", "lines", "lines, or json as consume --json prints it")
	_ = cmd.RegisterFlagCompletionFunc("input", cobra.FixedCompletions([]string{"lines", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

func (in *input) check() error {
	if in.kind != "lines" && in.kind != "json" {
		return cli.Usagef("--input %q: want lines or json", in.kind)
	}
	sep, err := unescapeAll(in.keySeparator)
	if err != nil {
		return err
	}
	if in.kind == "json" && sep != "" {
		return cli.Usagef("--input json has keys of its own: no --key-separator")
	}
	if in.partition < -1 {
		return cli.Usagef("--partition %d: must not be negative", in.partition)
	}
	in.separator = []byte(sep)
	for _, h := range in.headers {
		name, value, ok := strings.Cut(h, "=")
		if !ok {
			return cli.Usagef("--header %q: want name=value", h)
		}
		in.fixed = append(in.fixed, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	return nil
}

// manual tells whether records may say their partition.
func (in *input) manual() bool { return in.partition >= 0 || in.kind == "json" }

// A reader reads lines and makes records of them. A goroutine of its own reads
// ahead by one line: what waits for a terminal can't be woken up. It ends with
// close, with the input, or else with the process.
type reader struct {
	in   *input
	read chan line // no capacity: one line ahead
	over chan struct{}
	n    int
}

type line struct {
	text []byte
	err  error
}

// open begins to read. The caller closes the reader.
func (in *input) open(r io.Reader) *reader {
	rd := &reader{in: in, read: make(chan line), over: make(chan struct{})}
	go rd.run(r)
	return rd
}

func (rd *reader) close() { close(rd.over) }

func (rd *reader) run(r io.Reader) {
	defer close(rd.read)
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	for s.Scan() {
		if !rd.give(line{text: bytes.Clone(s.Bytes())}) {
			return
		}
	}
	if err := s.Err(); err != nil {
		rd.give(line{err: err})
	}
}

func (rd *reader) give(l line) bool {
	select {
	case rd.read <- l:
		return true
	case <-rd.over:
		return false
	}
}

// next returns the next record, and io.EOF at the end.
func (rd *reader) next(ctx context.Context) (*kgo.Record, error) {
	select {
	case l, ok := <-rd.read:
		if !ok {
			return nil, io.EOF
		}
		rd.n++
		if l.err != nil {
			return nil, fmt.Errorf("read line %d: %w", rd.n, l.err)
		}
		rec, err := rd.in.record(l.text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", rd.n, err)
		}
		return rec, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var errNoSeparator = errors.New("the key separator is not in it")

// record makes a record of a line, which it keeps.
func (in *input) record(line []byte) (*kgo.Record, error) {
	r := &kgo.Record{Value: line}
	if in.kind == "json" {
		var err error
		if r, err = parseJSON(line); err != nil {
			return nil, err
		}
	} else if len(in.separator) > 0 {
		key, value, ok := bytes.Cut(line, in.separator)
		if !ok {
			return nil, fmt.Errorf("%w: %q", errNoSeparator, in.separator)
		}
		r.Key, r.Value = in.orNull(key), value
	}
	r.Value = in.orNull(r.Value)
	r.Headers = append(r.Headers, in.fixed...)
	if in.partition >= 0 || in.kind != "json" {
		r.Partition = in.partition
	}
	return r, nil
}

func (in *input) orNull(b []byte) []byte {
	if in.null != "" && string(b) == in.null {
		return nil
	}
	return b
}

// mixedPartitioner takes a record's own partition, or where there is none the
// one that Kafka's producer would choose.
func mixedPartitioner() kgo.Partitioner {
	return kgo.BasicConsistentPartitioner(func(topic string) func(*kgo.Record, int) int {
		byKey := kgo.StickyKeyPartitioner(nil).ForTopic(topic)
		return func(r *kgo.Record, n int) int {
			if r.Partition >= 0 {
				return int(r.Partition)
			}
			return byKey.Partition(r, n)
		}
	})
}
