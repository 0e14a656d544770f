// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Producing has the flags of commands that produce.
type Producing struct {
	Codec, Acks string
	Linger      time.Duration
	BatchBytes  int32
}

var codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// Add gives cmd the flags. linger is the default of one of them.
func (p *Producing) Add(cmd *cobra.Command, linger time.Duration) {
	f := cmd.Flags()
	f.StringVarP(&p.Codec, "compression", "z", "none", "none, gzip, snappy, lz4 or zstd")
	f.StringVar(&p.Acks, "acks", "all", "who acknowledges a batch: all (in-sync replicas), 1 (the leader) or 0 (nobody)")
	f.DurationVar(&p.Linger, "linger", linger, "how long a batch waits for more records")
	f.Int32Var(&p.BatchBytes, "batch-bytes", 1000012, "largest batch")
	_ = cmd.RegisterFlagCompletionFunc("compression", cobra.FixedCompletions(codecs, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("acks", cobra.FixedCompletions([]string{"all", "1", "0"}, cobra.ShellCompDirectiveNoFileComp))
}

// Options are the flags as the client's. Producers are idempotent if all replicas
// acknowledge.
func (p *Producing) Options() ([]kgo.Opt, error) {
	codec, ok := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}[p.Codec]
	if !ok {
		return nil, Usagef("--compression %q: want none, gzip, snappy, lz4 or zstd", p.Codec)
	}
	if p.Linger < 0 || p.BatchBytes < 1<<10 {
		return nil, Usagef("--linger %v must not be negative, --batch-bytes %d not below 1024", p.Linger, p.BatchBytes)
	}
	opts := []kgo.Opt{kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(p.Linger), kgo.ProducerBatchMaxBytes(p.BatchBytes)}
	switch p.Acks {
	case "all", "-1":
		return append(opts, kgo.RequiredAcks(kgo.AllISRAcks())), nil
	case "1":
		return append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite()), nil
	case "0":
		return append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite()), nil
	}
	return nil, Usagef("--acks %q: want all, 1 or 0", p.Acks)
}

// A Pace says when the nth thing of a steady rate is due, whether or not those
// before it were late: an open loop.
type Pace struct {
	start time.Time
	rate  float64
	timer *time.Timer
}

// NewPace begins now. A rate of 0 means that all is due at once.
func NewPace(rate float64) *Pace { return &Pace{start: time.Now(), rate: rate} }

// Due is when thing n, counted from 0, is to happen.
func (p *Pace) Due(n int64) time.Time {
	if p.rate <= 0 {
		return time.Now()
	}
	return p.start.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
}

// Wait waits until thing n is due, or ctx ends.
func (p *Pace) Wait(ctx context.Context, n int64) error {
	if err := ctx.Err(); err != nil || p.rate <= 0 {
		return err
	}
	d := time.Until(p.Due(n))
	if d <= 0 {
		return nil
	}
	if p.timer == nil {
		p.timer = time.NewTimer(d)
	} else {
		p.timer.Reset(d)
	}
	select {
	case <-p.timer.C:
		return nil
	case <-ctx.Done():
		p.timer.Stop()
		return ctx.Err()
	}
}
