// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace"
)

// work is one run of the program around the streaming job.
type work struct {
	flags
	instance *millrace.Instance
	feeder   *feeder
	results  *results
	screen   *screen
	started  time.Time
}

// run feeds, shows and waits for the end: everything fed and counted, or ctx.
func (w *work) run(ctx context.Context, stdin io.Reader) error {
	client, err := open(w.instance)
	if err != nil {
		return err
	}
	defer client.Close()
	w.feeder = &feeder{client: client, partitions: int32(w.partitions)}
	if w.results, err = newResults(w.instance); err != nil {
		return err
	}
	defer w.results.close()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	wg.Go(func() { w.end(ctx, cancel, w.results.run(ctx)) })
	if w.progress != "" {
		wg.Go(func() { w.end(ctx, cancel, w.report(ctx)) })
	}
	wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-w.instance.App.Done():
			w.end(ctx, cancel, w.instance.App.Err())
		}
	})
	fed := make(chan struct{})
	wg.Go(func() {
		if err := w.feed(ctx, stdin); err != nil {
			w.end(ctx, cancel, err)
			return
		}
		close(fed)
	})
	return w.watch(ctx, fed)
}

// end ends the run with err, if it is one.
func (w *work) end(ctx context.Context, cancel context.CancelCauseFunc, err error) {
	if err != nil && ctx.Err() == nil {
		cancel(err)
	}
}

func (w *work) feed(ctx context.Context, stdin io.Reader) error {
	switch {
	case len(w.args) == 0:
		<-ctx.Done()
		return nil
	case len(w.args) == 1 && w.args[0] == "-":
		return w.feeder.stdin(ctx, stdin)
	}
	files, err := textFiles(w.args)
	if err != nil {
		return err
	}
	return w.feeder.files(ctx, files)
}

// watch shows how it goes until everything is counted.
func (w *work) watch(ctx context.Context, fed <-chan struct{}) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			w.screen.show(w.view())
		case <-fed:
			fed = nil
			if w.follow {
				continue
			}
			if err := w.settle(ctx, tick.C); err != nil {
				return err
			}
			w.screen.show(w.view())
			return w.writeOut()
		}
	}
}

// settle waits until what was fed is counted, committed and here: the group has
// committed its way through the lines, then through the words, and the results
// have come up to the end of their topic.
func (w *work) settle(ctx context.Context, tick <-chan time.Time) error {
	const words = "wordcount-by-word-repartition"
	for _, step := range []func(context.Context) (bool, error){
		func(ctx context.Context) (bool, error) { return w.committed(ctx, Lines.Name()) },
		func(ctx context.Context) (bool, error) { return w.committed(ctx, words) },
		w.results.caughtUp(w.feeder.client),
	} {
		for done := false; !done; {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-tick:
			}
			var err error
			if done, err = step(ctx); err != nil {
				return err
			}
			w.screen.show(w.view())
		}
	}
	return nil
}

// farewell says what was done and where to look next.
func (w *work) farewell(interrupted bool) {
	w.screen.leave()
	var b strings.Builder
	if interrupted {
		fmt.Fprintf(&b, "\nInterrupted after %s: run it again, it goes on from here.\n", time.Since(w.started).Round(100*time.Millisecond))
	} else {
		fmt.Fprintf(&b, "\nDone in %s. ", time.Since(w.started).Round(100*time.Millisecond))
		fmt.Fprintf(&b, "Kill it at any time (kill -9) and run it again: it goes on from where it was.\n")
	}
	fmt.Fprintf(&b, `
  the job          examples/wordcount/topology.go
  the data         %s (remove the folder to begin again)
  another cluster  wordcount --brokers HOST:PORT --data DIR files...
  your own         README.md: a first program in 15 lines
  how it works     ARCHITECTURE.md
`, w.data)
	fmt.Fprint(w.screen.out, b.String())
}

// view gathers what the screen shows.
func (w *work) view() view {
	v := view{
		elapsed: time.Since(w.started),
		lines:   w.feeder.lines.Load(), bytes: w.feeder.bytes.Load(), total: w.feeder.total.Load(),
	}
	p := w.instance.App.Progress()
	v.state = p.State
	v.processed, v.lag = p.Records, p.Lag()
	v.top, v.words, v.distinct = w.results.top(15)
	return v
}
