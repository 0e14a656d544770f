// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// sealedKeys are those of a layer, in its order.
func sealedKeys(t *testing.T, l *state.Layer) [][]byte {
	t.Helper()
	var keys [][]byte
	if err := l.Each(func(c state.Change) error {
		keys = append(keys, c.Key)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestLayersAreInOrderWhateverTheirKeysAre(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []byte {
		key := make([]byte, rnd.IntN(n))
		for i := range key {
			key[i] = byte(rnd.IntN(3)) * 127 // zeros, so that a short key looks like a longer one
		}
		return key
	}
	for what, key := range map[string]func() []byte{
		"short":             func() []byte { return random(8) },
		"long":              func() []byte { return random(40) },
		"with one prefix":   func() []byte { return append([]byte("prefix"), random(12)...) },
		"alike in the head": func() []byte { return append([]byte{0, 0, byte(rnd.IntN(2)), 0, 0, 0, 0, 0, 0}, random(12)...) },
	} {
		for _, n := range []int{1, 2, 100, 255, 256, 3000} {
			s := state.OpenKeyValue("s", serde.Bytes, serde.Int64, bases(t), state.Options{})
			want := map[string]bool{}
			for range n {
				k := key()
				want[string(k)] = true
				if err := s.Put(k, 1, 1); err != nil {
					t.Fatal(err)
				}
			}
			l, err := s.Seal()
			if err != nil {
				t.Fatal(err)
			}
			got := sealedKeys(t, l)
			if !slices.IsSortedFunc(got, bytes.Compare) {
				t.Fatalf("%s: layer of %d keys is not in order", what, n)
			}
			for _, k := range got {
				delete(want, string(k))
			}
			if len(want) > 0 || len(slices.CompactFunc(got, bytes.Equal)) != l.Len() {
				t.Fatalf("%s: %d of %d keys are missing, %d there", what, len(want), n, l.Len())
			}
		}
	}
}
