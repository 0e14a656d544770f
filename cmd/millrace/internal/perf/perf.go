// SPDX-License-Identifier: Apache-2.0

package perf

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/cmd/millrace/internal/cli"
)

// New is "millrace perf".
func New(f *cli.Flags) *cobra.Command {
	cmd := cli.Group("perf", "Measure throughput and latency of a cluster", newProduce(f), newConsume(f), newLatency(f))
	f.Add(cmd)
	return cmd
}

// A load is what is sent.
type load struct {
	records int64
	size    int
	rate    float64
	quiet   bool
	cli.Producing
}

func (l *load) add(cmd *cobra.Command, records int64, rate float64, linger time.Duration) {
	p := cmd.Flags()
	p.Int64VarP(&l.records, "records", "n", records, "how many records")
	p.IntVarP(&l.size, "size", "s", 100, "bytes of a record's value")
	p.Float64VarP(&l.rate, "rate", "r", rate, "records a second to aim at; 0: as many as can be")
	p.BoolVarP(&l.quiet, "quiet", "q", false, "no line each second on standard error")
	l.Producing.Add(cmd, linger)
}

func (l *load) check(smallest int) error {
	if l.records < 1 || l.size < smallest || l.rate < 0 {
		return cli.Usagef("--records %d must be above 0, --size %d at least %d, --rate %v not negative", l.records, l.size, smallest, l.rate)
	}
	return nil
}

// values hands out values that compress about as text does not: letters at
// random, the same in each run.
type values struct {
	letters []byte
	random  *rand.Rand
	size    int
}

func newValues(size int) *values {
	v := &values{size: size, random: rand.New(rand.NewPCG(1, 2)), letters: make([]byte, size+1<<20)}
	for i := range v.letters {
		v.letters[i] = 'A' + byte(v.random.IntN(26))
	}
	return v
}

// next returns a value that must not be changed.
func (v *values) next() []byte {
	at := v.random.IntN(len(v.letters) - v.size + 1)
	return v.letters[at : at+v.size : at+v.size]
}

// stamped returns a fresh value that begins with a run's id and a time of it.
func (v *values) stamped(run uint64, ns int64) []byte {
	b := append([]byte(nil), v.next()...)
	binary.BigEndian.PutUint64(b, run)
	binary.BigEndian.PutUint64(b[8:], uint64(ns))
	return b
}

// stampBytes is the size of a stamp.
const stampBytes = 16

// unstamp reads what stamped wrote.
func unstamp(b []byte) (run uint64, ns int64, ok bool) {
	if len(b) < stampBytes {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(b), int64(binary.BigEndian.Uint64(b[8:])), true
}
