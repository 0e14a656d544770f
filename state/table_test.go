// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace/millrace/state"
)

// memoryModel is a base in memory beside a map that holds the same.
type memoryModel struct {
	t    testing.TB
	base state.Base
	want map[string]string
}

func newMemoryModel(t testing.TB) *memoryModel {
	t.Helper()
	db, err := state.Memory().Open("model")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	base, err := db.Base("model")
	if err != nil {
		t.Fatal(err)
	}
	return &memoryModel{t, base, map[string]string{}}
}

// randomKey is of few letters, so that keys meet, begin alike, end in zeros and are
// prefixes of each other.
func randomKey(r *rand.Rand) []byte {
	key := []byte([]string{"", "user-", "user-000000", "\x00\x00\x00\x00\x00\x00\x00\x00"}[r.IntN(4)])
	for range r.IntN(6) {
		key = append(key, "\x00\x01ab\xff"[r.IntN(5)])
	}
	return key
}

// change makes random changes and applies them.
func (m *memoryModel) change(r *rand.Rand, n int) {
	m.t.Helper()
	var w state.Writes
	for range n {
		key := randomKey(r)
		switch r.IntN(20) {
		case 0:
			upper := randomKey(r)
			w.DeleteRange(key, upper)
			maps.DeleteFunc(m.want, func(k, _ string) bool { return k >= string(key) && k < string(upper) })
		case 1, 2, 3, 4, 5:
			w.Delete(key)
			delete(m.want, string(key))
		default:
			value := bytes.Repeat([]byte{byte(r.Int())}, r.IntN(1<<r.IntN(15)))
			w.Put(key, value)
			m.want[string(key)] = string(value)
		}
	}
	if err := m.base.Apply(&w, state.Header{}); err != nil {
		m.t.Fatal(err)
	}
}

// checkScan compares a scan with what was in the map.
func (m *memoryModel) checkScan(want map[string]string, it state.Iterator, lower, upper []byte, o state.Order) {
	m.t.Helper()
	keys := slices.Sorted(maps.Keys(want))
	keys = slices.DeleteFunc(keys, func(k string) bool {
		return k < string(lower) || upper != nil && k >= string(upper)
	})
	if o == state.Backward {
		slices.Reverse(keys)
	}
	n := 0
	for ; it.Next(); n++ {
		if n >= len(keys) || string(it.Key()) != keys[n] || string(it.Value()) != want[keys[n]] {
			m.t.Fatalf("entry %d of [%q, %q) is %q, want %d keys, %q", n, lower, upper, it.Key(), len(keys), keys[min(n, len(keys)):])
		}
	}
	if n != len(keys) {
		m.t.Fatalf("[%q, %q) ends after %d entries, want %d", lower, upper, n, len(keys))
	}
}

func (m *memoryModel) checkGets(r *rand.Rand) {
	m.t.Helper()
	for range 50 {
		key := randomKey(r)
		got, ok, err := m.base.AppendGet(nil, key)
		if want, has := m.want[string(key)]; err != nil || ok != has || string(got) != want {
			m.t.Fatalf("key %q is %q, %v, %v, want %q, %v", key, got, ok, err, want, has)
		}
	}
}

func TestMemoryBaseAgreesWithAMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 20 {
		m := newMemoryModel(t)
		for range 30 {
			m.change(r, 1+r.IntN(1<<r.IntN(12)))
			m.checkGets(r)
			lower, upper, o := randomKey(r), randomKey(r), state.Order(r.IntN(2) == 0)
			if r.IntN(2) == 0 {
				upper = nil
			}
			it, err := m.base.Iterate(lower, upper, o)
			if err != nil {
				t.Fatal(err)
			}
			was := maps.Clone(m.want)
			m.change(r, 20) // which the iterator does not see
			m.checkScan(was, it, lower, upper, o)
		}
	}
}

func TestMemoryBaseTakesSortedPieces(t *testing.T) {
	m := newMemoryModel(t)
	for round := range 20 {
		var w state.Writes
		for piece := range 3 { // as layers are applied, each sorted
			for i := piece; i < 2000; i += 1 + (round+piece)%7 {
				key, value := fmt.Sprintf("key-%06d", i*(round+1)%9973/10*10), fmt.Sprintf("%d-%d-%d", round, piece, i)
				w.Put([]byte(key), []byte(value))
				m.want[key] = value
			}
		}
		if err := m.base.Apply(&w, state.Header{}); err != nil {
			t.Fatal(err)
		}
		for _, o := range []state.Order{state.Forward, state.Backward} {
			it, err := m.base.Iterate(nil, nil, o)
			if err != nil {
				t.Fatal(err)
			}
			m.checkScan(m.want, it, nil, nil, o)
		}
	}
}

func TestMemoryBaseTakesAKeyUnlikeTheOthers(t *testing.T) {
	m := newMemoryModel(t)
	put := func(keys ...string) {
		t.Helper()
		var w state.Writes
		for _, key := range keys {
			w.Put([]byte(key), []byte("v"+key))
			m.want[key] = "v" + key
		}
		if err := m.base.Apply(&w, state.Header{}); err != nil {
			t.Fatal(err)
		}
	}
	var keys []string
	for i := range 3000 {
		keys = append(keys, fmt.Sprintf("user-%08d", i*7))
	}
	put(keys...)
	for _, other := range []string{"user-1", "zebra", "Zebra", ""} { // less and less is common to all
		put(other)
		for key, want := range m.want {
			if got, _, err := m.base.AppendGet(nil, []byte(key)); err != nil || string(got) != want {
				t.Fatalf("after %q key %q is %q, %v, want %q", other, key, got, err, want)
			}
		}
	}
}

// BenchmarkMemoryBase applies 10,000 of 250,000 keys at a time, and looks for as many.
func BenchmarkMemoryBase(b *testing.B) {
	m := newMemoryModel(b)
	r := rand.New(rand.NewPCG(1, 1))
	keys := make([][]byte, 250_000)
	var w state.Writes
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "user-%08d", i)
		w.Put(keys[i], make([]byte, 16))
	}
	if err := m.base.Apply(&w, state.Header{}); err != nil {
		b.Fatal(err)
	}
	some := make([]int, 10_000)
	b.Run("op=apply", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			for i := range some {
				some[i] = r.IntN(len(keys))
			}
			slices.Sort(some)
			w.Reset()
			for _, i := range some {
				w.Put(keys[i], make([]byte, 16))
			}
			b.StartTimer()
			if err := m.base.Apply(&w, state.Header{}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(some)), "ns/key")
	})
	b.Run("op=get", func(b *testing.B) {
		var buf []byte
		for b.Loop() {
			buf, _, _ = m.base.AppendGet(buf[:0], keys[r.IntN(len(keys))])
		}
	})
}
