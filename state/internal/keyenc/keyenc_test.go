// SPDX-License-Identifier: Apache-2.0

package keyenc_test

import (
	"bytes"
	"cmp"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/state/internal/keyenc"
)

// row is what the keys of windows and sessions tell. Of a session time is the end.
type row struct {
	key         string
	time, start int64
	seq         uint32
}

func (r row) window(w keyenc.Window) []byte {
	return w.Tail(append(w.Head(nil, r.time), r.key...), r.time, r.seq)
}

func (r row) session(s keyenc.Session) []byte {
	return s.Tail(append(s.Head(nil, r.time), r.key...), r.time, r.start)
}

// TestGolden pins the bytes. Those of changelogs are what Kafka Streams 4.3 writes.
func TestGolden(t *testing.T) {
	minute := keyenc.Window{Segment: 60_000}
	byTime := keyenc.Window{Segment: 60_000, ByTime: true}
	w := row{key: "a\x00b", time: 120_001, seq: 7}
	s := row{key: "a", time: 59_999, start: -1}
	for _, c := range []struct{ what, base, log string }{
		{
			"window", string(w.window(minute)),
			"\x80\x00\x00\x00\x00\x00\x00\x02" + "a\x00\xffb\x00\x01" + "\x80\x00\x00\x00\x00\x01\xd4\xc1" + "\x00\x00\x00\x07",
		},
		{"window by time", string(w.window(byTime)), "\x80\x00\x00\x00\x00\x01\xd4\xc1" + "a\x00\xffb\x00\x01" + "\x00\x00\x00\x07"},
		{
			"session", string(s.session(60_000)),
			"\x80\x00\x00\x00\x00\x00\x00\x00" + "a\x00\x01" + "\x80\x00\x00\x00\x00\x00\xea\x5f" + "\x7f\xff\xff\xff\xff\xff\xff\xff",
		},
		{"changelog of windows", changelog(t, minute, w.window(minute)), "a\x00b" + "\x00\x00\x00\x00\x00\x01\xd4\xc1" + "\x00\x00\x00\x07"},
		{"changelog of windows by time", changelog(t, byTime, w.window(byTime)), "a\x00b" + "\x00\x00\x00\x00\x00\x01\xd4\xc1" + "\x00\x00\x00\x07"},
		{
			"changelog of sessions", changelog(t, keyenc.Session(60_000), s.session(60_000)),
			"a" + "\x00\x00\x00\x00\x00\x00\xea\x5f" + "\xff\xff\xff\xff\xff\xff\xff\xff",
		},
	} {
		if c.base != c.log {
			t.Errorf("%s = %x, want %x", c.what, c.base, c.log)
		}
	}
}

type layout interface {
	AppendChangelog(dst, b []byte) ([]byte, error)
	FromChangelog(dst, b []byte) ([]byte, error)
}

func changelog(t *testing.T, l layout, b []byte) string {
	t.Helper()
	key, err := l.AppendChangelog(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	back, err := l.FromChangelog([]byte("what was there"), key)
	if err != nil || !bytes.Equal(back, b) {
		t.Fatalf("%x came back from the changelog as %x, %v", b, back, err)
	}
	return string(key)
}

func randomRow(rnd *rand.Rand) row {
	key := make([]byte, rnd.IntN(4))
	for i := range key {
		key[i] = []byte{0, 1, 'a', 0xfe, 0xff}[rnd.IntN(5)]
	}
	times := []int64{math.MinInt64, -60_001, -60_000, -1, 0, 1, 59_999, 60_000, 1 << 40, math.MaxInt64, rnd.Int64N(400_000) - 200_000}
	return row{string(key), times[rnd.IntN(len(times))], times[rnd.IntN(len(times))], []uint32{0, 1, 255, 256, math.MaxUint32}[rnd.IntN(5)]}
}

func floorDiv(t, by int64) int64 {
	if t%by < 0 {
		return t/by - 1
	}
	return t / by
}

// TestOrder: keys are ordered as bytes as what they tell is.
func TestOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	const minute = 60_000
	for range 50_000 {
		a, b := randomRow(rnd), randomRow(rnd)
		segments := cmp.Compare(floorDiv(a.time, minute), floorDiv(b.time, minute))
		keys, times := cmp.Compare(a.key, b.key), cmp.Compare(a.time, b.time)
		starts, seqs := cmp.Compare(a.start, b.start), cmp.Compare(a.seq, b.seq)
		byKey, byTime := keyenc.Window{Segment: minute}, keyenc.Window{Segment: minute, ByTime: true}
		if got, want := bytes.Compare(a.window(byKey), b.window(byKey)), cmp.Or(segments, keys, times, seqs); got != want {
			t.Fatalf("windows %+v, %+v: order %d, want %d", a, b, got, want)
		}
		if got, want := bytes.Compare(a.window(byTime), b.window(byTime)), cmp.Or(times, keys, seqs); got != want {
			t.Fatalf("windows by time %+v, %+v: order %d, want %d", a, b, got, want)
		}
		if got, want := bytes.Compare(a.session(minute), b.session(minute)), cmp.Or(segments, keys, times, starts); got != want {
			t.Fatalf("sessions %+v, %+v: order %d, want %d", a, b, got, want)
		}
	}
}

// TestRoundTrip: what a key was made of is read from it again, by all ways.
func TestRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		r := randomRow(rnd)
		w := keyenc.Window{Segment: []int64{60_000, 7, math.MaxInt64}[rnd.IntN(3)], ByTime: rnd.IntN(2) == 0}
		b := r.window(w)
		key, start, seq, err := w.Parse(nil, b)
		if err != nil || string(key) != r.key || start != r.time || seq != r.seq {
			t.Fatalf("window %+v read back as %q %d %d, %v", r, key, start, seq, err)
		}
		if len(b) < w.Least() || w.Time(b) != r.time || w.Seq(b) != r.seq {
			t.Fatalf("window %+v: Time %d, Seq %d", r, w.Time(b), w.Seq(b))
		}
		changelog(t, w, b)
		s := keyenc.Session(w.Segment)
		b = r.session(s)
		key, end, start, err := s.Parse(nil, b)
		if err != nil || string(key) != r.key || end != r.time || start != r.start {
			t.Fatalf("session %+v read back as %q %d %d, %v", r, key, end, start, err)
		}
		if len(b) < s.Least() || s.Time(b) != r.time || s.Start(b) != r.start {
			t.Fatalf("session %+v: Time %d, Start %d", r, s.Time(b), s.Start(b))
		}
		changelog(t, s, b)
	}
}

func TestSegmentLength(t *testing.T) {
	for retention, want := range map[int64]int64{0: math.MaxInt64, 1: 60_000, 120_000: 60_000, 120_002: 60_001, 7_200_000: 3_600_000} {
		if got := keyenc.SegmentLength(retention); got != want {
			t.Errorf("SegmentLength(%d) = %d, want %d", retention, got, want)
		}
	}
}

// FuzzParse: bytes that are accepted as a key are that key's bytes.
func FuzzParse(f *testing.F) {
	r := row{key: "a\x00b", time: 120_001, start: 5, seq: 7}
	f.Add(r.window(keyenc.Window{Segment: 60_000}))
	f.Add(r.window(keyenc.Window{Segment: 60_000, ByTime: true}))
	f.Add(r.session(60_000))
	f.Add([]byte("a\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, w := range []keyenc.Window{{Segment: 60_000}, {Segment: 60_000, ByTime: true}} {
			if key, start, seq, err := w.Parse(nil, b); err == nil {
				if again := (row{key: string(key), time: start, seq: seq}).window(w); !bytes.Equal(again, b) {
					t.Fatalf("window % x is % x again", b, again)
				}
			}
			if made, err := w.FromChangelog(nil, b); err == nil && changelog(t, w, made) != string(b) {
				t.Fatalf("changelog key % x does not survive", b)
			}
			_, _ = w.AppendChangelog(nil, b)
		}
		s := keyenc.Session(60_000)
		if key, end, start, err := s.Parse(nil, b); err == nil {
			if again := (row{key: string(key), time: end, start: start}).session(s); !bytes.Equal(again, b) {
				t.Fatalf("session % x is % x again", b, again)
			}
		}
		if made, err := s.FromChangelog(nil, b); err == nil && changelog(t, s, made) != string(b) {
			t.Fatalf("changelog key % x does not survive", b)
		}
		_, _ = s.AppendChangelog(nil, b)
		if key, seq, err := keyenc.ParseList(nil, b); err == nil {
			again := keyenc.AppendTime(keyenc.Escape(append([]byte(nil), key...), 0), int64(seq^1<<63))
			if !bytes.Equal(again, b) {
				t.Fatalf("list % x is % x again", b, again)
			}
		}
	})
}
