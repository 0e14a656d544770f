// SPDX-License-Identifier: Apache-2.0

package kstream_test

import (
	"maps"
	"strconv"
	"time"

	"github.com/millrace/millrace/kstream"
	"github.com/millrace/millrace/ktable"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/topic"
	"github.com/millrace/millrace/window"
)

func init() { maps.Copy(goldenTopologies, goldenSuppress) }

// suppressed is a windowed table that is then suppressed.
func suppressed[K, V any](until ktable.Suppression, table func(w *kstream.TimeWindowed[text, text]) *ktable.KTable[K, V]) func(w *kstream.TimeWindowed[text, text]) *ktable.KTable[K, V] {
	return func(w *kstream.TimeWindowed[text, text]) *ktable.KTable[K, V] {
		return table(w).Suppress("held", until)
	}
}

var goldenSuppress = map[string]func(params) goldenTopology{
	"suppress_close_tumbling": timeWindows(tumbling10, suppressed(ktable.UntilWindowCloses(), countTime)),
	"suppress_close_maxrec":   timeWindows(tumbling10, suppressed(ktable.UntilWindowCloses().MaxRecords(2), countTime)),
	"suppress_close_sliding":  timeWindows(final10, suppressed(ktable.UntilWindowCloses(), reduceTime)),
	"suppress_close_hopping": timeWindows(func(params) window.TimeSpec { return window.Hopping(ms(10), ms(5)) },
		suppressed(ktable.UntilWindowCloses(), reduceTime)),
	"suppress_limit_windowed": timeWindows(func(params) window.TimeSpec { return window.Tumbling(ms(10)).Grace(ms(100)) },
		suppressed(ktable.UntilTimeLimit(ms(7)), countTime)),
	"suppress_close_session": sessions(session5(5), func(w *kstream.SessionWindowed[text, text]) *ktable.KTable[window.SessionKey[text], text] {
		return w.Reduce("st", concat).Suppress("held", ktable.UntilWindowCloses())
	}),
	"suppress_limit_count": golden[int64](func(t *processor.Topology) {
		stream(t, "in").GroupByKey().Count("st").Suppress("held", ktable.UntilTimeLimit(ms(10)).MaxRecords(2)).
			To(topic.Of[text, int64]("out"))
	}),
	"suppress_limit_shutdown": noStores(func(t *processor.Topology) {
		table(t, "st", "in").Suppress("held", ktable.UntilTimeLimit(ms(10)).MaxRecords(3).FailWhenFull()).To(outPlain)
	}),
	"suppress_limit_table": golden[string](func(t *processor.Topology) {
		table(t, "st", "in").Suppress("held", ktable.UntilTimeLimit(ms(10))).To(outPlain)
	}),
	"suppress_limit_zero": golden[string](func(t *processor.Topology) {
		table(t, "st", "in").Suppress("held", ktable.UntilTimeLimit(0)).To(outPlain)
	}),
	"headers_suppress": noStores(func(t *processor.Topology) {
		s := stream(t, "in")
		place := func(k window.Key[text], n int64) (text, int64) {
			return opt.Some(java(k.Key) + strconv.FormatInt(k.Start, 10)), n
		}
		counted := s.GroupByKey().Windowed(window.Tumbling(ms(10)))
		kstream.FromTable(counted.Count("a").Suppress("held", ktable.UntilWindowCloses())).
			Map(func(k window.Key[text], n opt.V[int64]) (text, int64) { return place(k, n.Value) }).To(topic.Of[text, int64]("out"))
		kstream.FromTable(counted.Emit(window.OnClose).Count("b", ktable.Retention(time.Second))).
			Map(func(k window.Key[text], n opt.V[int64]) (text, int64) { return place(k, n.Value) }).To(topic.Of[text, int64]("out2"))
		s.SelectKey(func(text, text) text { return opt.Some("x") }).GroupByKey(kstream.Named("rp")).Count("c").To(topic.Of[text, int64]("out3"))
	}),
}
