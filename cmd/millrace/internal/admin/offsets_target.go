// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// A target says where a reset goes: exactly one of its flags.
type target struct {
	earliest, latest bool
	datetime         string
	ago              time.Duration
	shift, exact     int64
	file             string

	at       time.Time // of datetime and ago
	fromFile map[topicPartition]int64
	kind     string // the name of the flag
}

// targets are the flags of which a user sets one.
var targets = []string{"to-earliest", "to-latest", "to-datetime", "by-duration", "shift", "to-offset", "from-file"}

func (t *target) add(cmd *cobra.Command) {
	p := cmd.Flags()
	p.BoolVar(&t.earliest, "to-earliest", false, "to the first record")
	p.BoolVar(&t.latest, "to-latest", false, "behind the last record")
	p.StringVar(&t.datetime, "to-datetime", "", "to the first record of this `time` or later: 2006-01-02T15:04:05Z, ms since the epoch")
	p.DurationVar(&t.ago, "by-duration", 0, "to the first record that is not older than this")
	p.Int64Var(&t.shift, "shift", 0, "by this many records from the committed offset; negative: back")
	p.Int64Var(&t.exact, "to-offset", 0, "to this offset")
	p.StringVar(&t.file, "from-file", "", "to what a `file` of lines topic,partition,offset says")
}

// check settles which flag it is.
func (t *target) check(cmd *cobra.Command, s *selection) error {
	if err := t.checkAlone(cmd, ""); err != nil {
		return err
	}
	if t.kind != "from-file" {
		return s.check()
	}
	if s.all || len(s.topics) > 0 {
		return cli.Usagef("--from-file says which topics itself")
	}
	return nil
}

// checkAlone settles which flag it is; without any it is otherwise, unless that is "".
func (t *target) checkAlone(cmd *cobra.Command, otherwise string) error {
	n := 0
	for _, name := range targets {
		if cmd.Flags().Changed(name) {
			t.kind = name
			n++
		}
	}
	if n == 0 && otherwise != "" {
		t.kind = otherwise
		n++
	}
	if n != 1 {
		return cli.Usagef("want exactly one of --to-earliest, --to-latest, --to-datetime, --by-duration, --shift, --to-offset, --from-file")
	}
	var err error
	switch t.kind {
	case "to-datetime":
		if t.at, err = cli.ParseTime(t.datetime, time.Now()); err != nil {
			return err
		}
	case "by-duration":
		if t.ago < 0 {
			return cli.Usagef("--by-duration %v: must not be negative", t.ago)
		}
		t.at = time.Now().Add(-t.ago)
	case "from-file":
		return t.readFile()
	}
	return nil
}

func (t *target) readFile() error {
	f, err := os.Open(t.file)
	if err != nil {
		return cli.Usagef("--from-file: %v", err)
	}
	defer f.Close()
	if t.fromFile, err = parseOffsets(f); err != nil {
		return cli.Usagef("--from-file %s: %v", t.file, err)
	}
	return nil
}

// parseOffsets reads lines of topic,partition,offset, as "offsets export" and
// Kafka's tool write them.
func parseOffsets(r io.Reader) (map[topicPartition]int64, error) {
	rows := csv.NewReader(r)
	rows.FieldsPerRecord = 3
	all := make(map[topicPartition]int64)
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		line, _ := rows.FieldPos(0)
		partition, err := strconv.ParseUint(row[1], 10, 31)
		if err != nil {
			return nil, fmt.Errorf("line %d: partition %q", line, row[1])
		}
		offset, err := strconv.ParseUint(row[2], 10, 63)
		if err != nil {
			return nil, fmt.Errorf("line %d: offset %q", line, row[2])
		}
		all[topicPartition{row[0], int32(partition)}] = int64(offset)
	}
	if len(all) == 0 {
		return nil, errors.New("no offsets in it")
	}
	return all, nil
}

// listed are the partitions of the file; nil without one.
func (t *target) listed() []topicPartition {
	var all []topicPartition
	for tp := range t.fromFile {
		all = append(all, tp)
	}
	sortPartitions(all)
	return all
}

// offset is where a partition goes, which may be beyond what the log has. after
// is the first offset of the time asked for, -1 if there is none.
func (t *target) offset(m move, start, end, after int64) (int64, error) {
	switch t.kind {
	case "to-earliest":
		return start, nil
	case "to-latest":
		return end, nil
	case "to-offset":
		return t.exact, nil
	case "shift":
		if m.From < 0 {
			return 0, fmt.Errorf("%s:%d has no committed offset to shift", m.Topic, m.Partition)
		}
		return m.From + t.shift, nil
	case "from-file":
		return t.fromFile[m.topicPartition], nil
	default:
		if after < 0 {
			return end, nil
		}
		return after, nil
	}
}
