// SPDX-License-Identifier: Apache-2.0

package statetest

import (
	"encoding/binary"

	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// segmentOf is the length of the segments of a store, as docs/format/store.md says.
func segmentOf(retention int64) int64 {
	if retention == 0 {
		return 1 << 62 // no time here is near it
	}
	return max(retention/2, 60_000)
}

func timedKinds(retention int64) map[string]timedKind {
	kinds := map[string]timedKind{}
	for name, o := range map[string]state.WindowOptions{
		"windows": {}, "windows by time": {ByTime: true},
		"windows with duplicates": {Duplicates: true}, "windows with duplicates by time": {Duplicates: true, ByTime: true},
	} {
		o.Size, o.Retention = 10_000, retention
		k := timedKind{duplicates: o.Duplicates, segment: segmentOf(retention), record: windowRecord, parse: parseWindow}
		if o.ByTime {
			k.segment = 0
		}
		k.open = func(base state.Base, opt state.Options) timedStore {
			return windowStore{state.OpenWindow("s", serde.String, serde.String, o, base, opt)}
		}
		kinds[name] = k
	}
	for name, brief := range map[string]bool{"sessions": false, "brief sessions": true} {
		kinds[name] = timedKind{
			session: true, brief: brief, segment: segmentOf(retention), record: sessionRecord, parse: parseSession,
			open: func(base state.Base, opt state.Options) timedStore {
				o := state.SessionOptions{Gap: 5_000, Retention: retention, Brief: brief}
				return sessionStore{state.OpenSession("s", serde.String, serde.String, o, base, opt)}
			},
		}
	}
	return kinds
}

// windowRecord is the key of a window in a changelog: WindowKeySchema.java.
func windowRecord(r row) []byte {
	b := binary.BigEndian.AppendUint64([]byte(r.Key), uint64(r.Time))
	return binary.BigEndian.AppendUint32(b, r.Seq)
}

func parseWindow(b []byte) row {
	n := len(b) - 12
	return row{Key: string(b[:n]), Time: int64(binary.BigEndian.Uint64(b[n:])), Seq: binary.BigEndian.Uint32(b[n+8:])}
}

// sessionRecord is the key of a session in a changelog: SessionKeySchema.java.
func sessionRecord(r row) []byte {
	b := binary.BigEndian.AppendUint64([]byte(r.Key), uint64(r.Time))
	return binary.BigEndian.AppendUint64(b, uint64(r.Start))
}

func parseSession(b []byte) row {
	n := len(b) - 16
	return row{Key: string(b[:n]), Time: int64(binary.BigEndian.Uint64(b[n:])), Start: int64(binary.BigEndian.Uint64(b[n+8:]))}
}

type windowStore struct {
	*state.WindowStore[string, string]
}

func (s windowStore) put(r row, v string, ts int64) (bool, error) { return s.Put(r.Key, r.Time, v, ts) }

func (s windowStore) remove(r row, ts int64) (bool, error)    { return s.Delete(r.Key, r.Time, ts) }
func (s windowStore) cell(r row) (*state.Cell[string], error) { return s.Cell(r.Key, r.Time) }

func (s windowStore) eachDirty(fn func(r row, c *state.Cell[string]) error) error {
	return s.EachDirty(func(key string, start int64, c *state.Cell[string]) error {
		return fn(row{Key: key, Time: start}, c)
	})
}

func (s windowStore) scan(first, last opt.V[string], from, to int64, o state.Order) rowScan {
	switch {
	case first.OK && first == last:
		return windowScan{s.Fetch(first.Value, from, to, o)}
	case !first.OK && !last.OK:
		return windowScan{s.FetchAll(from, to, o)}
	default:
		return windowScan{s.FetchRange(first, last, from, to, o)}
	}
}

func (s windowStore) view(first, last opt.V[string], from, to int64, o state.Order) rowScan {
	return windowScan{s.Committed().FetchRange(first, last, from, to, o)}
}

func (s windowStore) list(key string, from, to int64) ([]state.Row[string], error) {
	return s.AppendRows(nil, key, from, to)
}

type windowScan struct {
	*state.WindowScan[string, string]
}

func (sc windowScan) at() row { return row{Key: sc.Key(), Time: sc.Start()} }

type sessionStore struct {
	*state.SessionStore[string, string]
}

func (s sessionStore) put(r row, v string, ts int64) (bool, error) {
	return s.Put(r.Key, r.Start, r.Time, v, ts)
}

func (s sessionStore) remove(r row, ts int64) (bool, error) {
	return s.Remove(r.Key, r.Start, r.Time, ts)
}

func (s sessionStore) cell(r row) (*state.Cell[string], error) {
	return s.Cell(r.Key, r.Start, r.Time)
}

func (s sessionStore) eachDirty(fn func(r row, c *state.Cell[string]) error) error {
	return s.EachDirty(func(key string, start, end int64, c *state.Cell[string]) error {
		return fn(row{Key: key, Time: end, Start: start}, c)
	})
}

func (s sessionStore) scan(first, last opt.V[string], from, to int64, o state.Order) rowScan {
	if first.OK && first == last {
		return sessionScan{s.FindSessions(first.Value, from, to, o)}
	}
	return sessionScan{s.FindRange(first, last, from, to, o)}
}

func (s sessionStore) view(first, last opt.V[string], from, to int64, o state.Order) rowScan {
	return sessionScan{s.Committed().FindRange(first, last, from, to, o)}
}

func (s sessionStore) list(key string, from, to int64) ([]state.Row[string], error) {
	return s.AppendSessions(nil, key, from, to)
}

type sessionScan struct {
	*state.SessionScan[string, string]
}

func (sc sessionScan) at() row { return row{Key: sc.Key(), Time: sc.End(), Start: sc.Start()} }
