// SPDX-License-Identifier: Apache-2.0

package statetest

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// BenchRestore restores a store of counts from a changelog that names each key twice,
// in an order that no cache likes.
func BenchRestore(b *testing.B, r Rig) {
	for _, keys := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			log := changelog(2*keys, keys)
			b.ReportAllocs()
			for b.Loop() {
				benchRestore(b, r, log)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(log)), "ns/record")
		})
	}
}

func changelog(records, keys int) []state.Change {
	log := make([]state.Change, records)
	for i := range log {
		key := uint64(uint32(i%keys) * 2654435761)
		log[i] = state.Change{
			Key: binary.BigEndian.AppendUint64(nil, key), Value: binary.BigEndian.AppendUint64(nil, uint64(i)), Timestamp: int64(i),
		}
	}
	return log
}

func benchRestore(b *testing.B, r Rig, log []state.Change) {
	const batch = 20_000
	at := r.At(b.TempDir())
	db, err := at.Open("task")
	if err != nil {
		b.Fatal(err)
	}
	base, err := db.Base("counts")
	if err != nil {
		b.Fatal(err)
	}
	s := state.OpenKeyValue("counts", serde.Int64, serde.Int64, base, state.Options{})
	for i := 0; i < len(log); i += batch {
		end := min(i+batch, len(log))
		if err := s.Restore(log[i:end], state.Header{Position: int64(end)}); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Restored(); err != nil {
		b.Fatal(err)
	}
	for _, close := range []func() error{s.Close, db.Close, at.Close} {
		if err := close(); err != nil {
			b.Fatal(err)
		}
	}
}
