// SPDX-License-Identifier: Apache-2.0

// Wordcount counts the words of files and folders, or of standard input, with a
// streaming job: the lines go through a broker, the counts into a store with a
// changelog, the results into a topic, from which this program shows the top.
// It may be killed at any time and run again: it goes on where it was.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace"
	"github.com/millrace/millrace/processor"
)

const usage = `Usage: wordcount [flags] [file or folder ...]

Counts the words of files and folders, or of standard input ("-"). Without any it
only takes part in the counting, until it is interrupted: an instance beside
others, with --brokers and a --data of its own.

`

type flags struct {
	brokers    string
	data       string
	listen     string
	partitions int
	commit     time.Duration
	out        string
	progress   string
	follow     bool
	instance   string
	stay       bool
	session    time.Duration
	verbose    bool
	args       []string
}

func parse(args []string) (flags, error) {
	var f flags
	fs := flag.NewFlagSet("wordcount", flag.ContinueOnError)
	fs.Usage = func() {
		fmt.Fprint(fs.Output(), usage)
		fs.PrintDefaults()
	}
	fs.StringVar(&f.brokers, "brokers", "", "addresses `host:port,...` of a Kafka cluster; without it the bundled broker runs in this process")
	fs.StringVar(&f.data, "data", "wordcount-data", "`folder` of the bundled broker's logs and of the stores")
	fs.StringVar(&f.listen, "listen", "127.0.0.1:0", "`host:port` at which the bundled broker listens, port 0 for any")
	fs.IntVar(&f.partitions, "partitions", 8, "partitions of the topics, when they are made")
	fs.DurationVar(&f.commit, "commit", time.Second, "time between commits")
	fs.StringVar(&f.out, "out", "", "`file` for the final counts, a line \"count word\" each, sorted by word")
	fs.StringVar(&f.progress, "progress", "", "`file` to which a line of JSON is appended every 50 ms: how far each task is")
	fs.BoolVar(&f.follow, "follow", false, "go on after everything is counted, until interrupted")
	fs.StringVar(&f.instance, "instance", "", "`name` of this instance in the group, by which a restart finds its work; else one is kept in --data")
	fs.BoolVar(&f.stay, "stay", false, "remain a member of the group at the end: a restart within the session moves no work")
	fs.DurationVar(&f.session, "session", 45*time.Second, "how long the group waits for an instance that is silent before its work moves")
	fs.BoolVar(&f.verbose, "v", false, "show the log")
	err := fs.Parse(args)
	f.args = fs.Args()
	return f, err
}

func main() {
	f, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, f, os.Stdin, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "wordcount:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, f flags, stdin io.Reader, stdout io.Writer) (err error) {
	cfg := millrace.Config{
		Data: f.data, Listen: f.listen, Partitions: int32(f.partitions),
		Engine: processor.Config{
			CommitInterval: f.commit, InstanceID: f.instance, StayOnClose: f.stay, SessionTimeout: f.session, Logger: logger(f.verbose),
		},
	}
	if f.brokers != "" {
		cfg.Brokers = strings.Split(f.brokers, ",")
	}
	i, err := millrace.Start(ctx, wordCount(), cfg)
	if err != nil {
		return err
	}
	defer func() {
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if cerr := i.Close(bound); err == nil {
			err = cerr // else it is the first failure once more, or what followed from it
		}
	}()
	if err := i.CreateTopics(ctx, int32(f.partitions), filesTopic); err != nil {
		return err
	}
	w := &work{flags: f, instance: i, screen: newScreen(stdout), started: time.Now()}
	if err := w.run(ctx, stdin); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	w.farewell(ctx.Err() != nil)
	return nil
}

func logger(verbose bool) *slog.Logger {
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// open opens a client for the lines and the files' lists.
func open(i *millrace.Instance) (*kgo.Client, error) {
	return i.NewClient(
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedRecords(100_000),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
	)
}
