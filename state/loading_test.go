// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
)

// A slowBase loads nothing before it is let, and then perhaps fails, as it does if what
// it is given is not in order or has a key twice.
type slowBase struct {
	state.Base
	let chan error
}

func (b *slowBase) Load(w *state.Writes, h state.Header) error {
	if err := <-b.let; err != nil {
		return err
	}
	if list := w.List(); !slices.IsSortedFunc(list, byKey) || len(slices.CompactFunc(slices.Clone(list), sameKey)) < len(list) {
		return errors.New("not in order, or a key twice")
	}
	return b.Base.Load(w, h)
}

func byKey(a, b state.Write) int    { return bytes.Compare(a.Key, b.Key) }
func sameKey(a, b state.Write) bool { return bytes.Equal(a.Key, b.Key) }

func slow(t *testing.T) *slowBase { return &slowBase{bases(t), make(chan error)} }

const restoredKeys = 1000

func restoredKey(i int) string { return fmt.Sprintf("key-%04d", i) }

// restoring restores some keys into a store on base, each twice, with every tenth
// removed, but for the last call.
func restoring(t *testing.T, base state.Base, o state.Options) *state.KeyValueStore[string, int64] {
	t.Helper()
	s := state.OpenKeyValue("s", serde.String, serde.Int64, base, o)
	var log []state.Change
	for round := range 2 {
		for i := range restoredKeys {
			c := state.Change{Key: []byte(restoredKey(i * 7 % restoredKeys)), Timestamp: int64(i)}
			if round == 0 || i%10 > 0 {
				c.Value, _ = serde.Int64.Append(nil, int64(i+round))
			}
			log = append(log, c)
		}
	}
	if err := s.Restore(log, state.Header{Position: int64(len(log))}); err != nil {
		t.Fatal(err)
	}
	return s
}

// checkRestored looks at the keys, but for the first one.
func checkRestored(t *testing.T, s *state.KeyValueStore[string, int64]) {
	t.Helper()
	for i := 1; i < restoredKeys; i++ {
		v, at, ok, err := s.Get(restoredKey(i * 7 % restoredKeys))
		if err != nil {
			t.Fatal(err)
		}
		if ok != (i%10 > 0) || ok && (v != int64(i+1) || at != int64(i)) {
			t.Fatalf("key %d is %d at %d, %v", i, v, at, ok)
		}
	}
}

// TestAStoreIsInUseWhileItsBaseTakesWhatWasRestored: all of it is read, by the view as
// well, is changed and committed; and the base has the restored rows before those.
func TestAStoreIsInUseWhileItsBaseTakesWhatWasRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := slow(t)
		s := restoring(t, base, state.Options{RestoreBytes: 256 << 10, ApplyBytes: 1})
		if err := s.Restored(); err != nil {
			t.Fatal(err)
		}
		checkRestored(t, s)
		loading, _ := s.Bytes()
		if n := s.Unflushed(); n != loading || n < restoredKeys*16 {
			t.Errorf("what was restored takes %d bytes, of which %d are not durable", loading, n)
		}
		sc := s.Committed().Range(opt.None[string](), opt.None[string](), state.Forward)
		n := 0
		for sc.Next() {
			n++
		}
		if err := errors.Join(sc.Err(), sc.Close()); err != nil || n != restoredKeys/10*9 {
			t.Errorf("a view has %d rows, %v", n, err)
		}
		for v := range int64(5) {
			if err := s.Put(restoredKey(0), v, v); err != nil {
				t.Fatal(err)
			}
			commit(t, s, 3000+v)
		}
		if h, ok, err := base.Header(); ok || err != nil {
			t.Errorf("the base has %v, %v before anything was loaded", h, err)
		}
		if n, _ := s.Bytes(); n < loading {
			t.Errorf("%d bytes are kept of %d that are being loaded", n, loading)
		}
		flushed := make(chan error, 1)
		go func() { flushed <- s.Flush() }()
		synctest.Wait()
		select {
		case err := <-flushed:
			t.Fatalf("Flush did not wait: %v", err)
		default:
		}
		base.let <- nil
		if err := <-flushed; err != nil {
			t.Fatal(err)
		}
		if dirty, _ := s.Bytes(); dirty != 0 {
			t.Errorf("%d bytes are kept of what is in the base", dirty)
		}
		h, _, err := base.Header()
		if err != nil || h.Position != 3004 {
			t.Errorf("the base is at %d, %v", h.Position, err)
		}
		checkRestored(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		again := state.OpenKeyValue("s", serde.String, serde.Int64, base, state.Options{})
		checkRestored(t, again)
		if v, _, _, err := again.Get(restoredKey(0)); v != 4 || err != nil {
			t.Errorf("what came after the restore is %d, %v", v, err)
		}
	})
}

// TestCommitsDoNotWaitForWhatWasRestored, until layers have become many.
func TestCommitsDoNotWaitForWhatWasRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := slow(t)
		s := restoring(t, base, state.Options{RestoreBytes: 256 << 10, ApplyBytes: 1})
		if err := s.Restored(); err != nil {
			t.Fatal(err)
		}
		commits := make(chan int, 100)
		done := make(chan error)
		go func() {
			defer close(done)
			for i := range 10 {
				if err := s.Put(restoredKey(0), int64(i), 0); err != nil {
					done <- err
				}
				l, err := s.Seal()
				if err != nil {
					done <- err
				}
				if err := s.Commit(l, state.Header{Position: int64(3000 + i)}); err != nil {
					done <- err
				}
				commits <- i
			}
		}()
		synctest.Wait()
		if n := len(commits); n < 4 || n == 10 {
			t.Errorf("%d commits came through before the base took what was restored", n)
		}
		base.let <- nil
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestALoadThatFailsIsTold: by what waits for it, each time, and nothing of what came
// later gets into the base.
func TestALoadThatFailsIsTold(t *testing.T) {
	base := slow(t)
	s := restoring(t, base, state.Options{RestoreBytes: 256 << 10})
	if err := s.Restored(); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	s.Unflushed() // it begins with the first look
	base.let <- broken
	if err := s.Put(restoredKey(0), 1, 1); err != nil {
		t.Fatal(err)
	}
	l, err := s.Seal()
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Commit(l, state.Header{Position: 3000})
	if err := s.Flush(); !errors.Is(err, broken) {
		t.Errorf("Flush: %v", err)
	}
	if err := s.Close(); !errors.Is(err, broken) {
		t.Errorf("Close: %v", err)
	}
	if h, ok, err := base.Header(); ok || err != nil {
		t.Errorf("the base has %v, %v", h, err)
	}
}

// TestARestoreWaitsForItsBaseWithoutRoom: where layers take much of the memory, and
// where little was restored.
func TestARestoreWaitsForItsBaseWithoutRoom(t *testing.T) {
	budget := state.NewBudget(8 << 20)
	other := state.OpenKeyValue("other", serde.String, serde.Bytes, bases(t), state.Options{Budget: budget})
	if err := other.Put("large", make([]byte, 3<<20), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Seal(); err != nil {
		t.Fatal(err)
	}
	for what, o := range map[string]state.Options{
		"memory is short": {RestoreBytes: 256 << 10, Budget: budget},
		"it is little":    {RestoreBytes: 64 << 20},
	} {
		base := bases(t)
		s := restoring(t, base, o)
		if err := s.Restored(); err != nil {
			t.Fatal(err)
		}
		if h, _, err := base.Header(); err != nil || h.Position != 2*restoredKeys {
			t.Errorf("%s: the base is at %d, %v", what, h.Position, err)
		}
		checkRestored(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestALoadWaitsForOtherRestores, while there is room.
func TestALoadWaitsForOtherRestores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := state.NewBudget(8 << 20)
		base := slow(t)
		s := restoring(t, base, state.Options{RestoreBytes: 256 << 10, Budget: budget})
		other := restoring(t, bases(t), state.Options{RestoreBytes: 256 << 10, Budget: budget})
		if err := s.Restored(); err != nil {
			t.Fatal(err)
		}
		begun := func() bool {
			s.Unflushed()
			synctest.Wait()
			select {
			case base.let <- nil:
				return true
			default:
				return false
			}
		}
		if begun() {
			t.Error("a store is loaded while another one is restored")
		}
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		if !begun() {
			t.Error("a store is not loaded when no other is restored")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestTheLastRecordOfAKeyIsRestored, in whatever order they come.
func TestTheLastRecordOfAKeyIsRestored(t *testing.T) {
	for what, keys := range map[string]string{
		"in order":         "abcdefgh",
		"one after other":  "aaabbccccddddd",
		"in stretches":     "abcdabcdacbd",
		"from the end":     "hgfedcba",
		"with one in both": "aabaabc",
	} {
		base := slow(t)
		s := state.OpenKeyValue("s", serde.String, serde.Int64, base, state.Options{})
		for i, key := range keys {
			v, _ := serde.Int64.Append(nil, int64(i))
			if err := s.Restore([]state.Change{{Key: []byte(string(key)), Value: v}}, state.Header{}); err != nil {
				t.Fatal(err)
			}
		}
		go func() { base.let <- nil }()
		if err := s.Restored(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for _, key := range "abcdefgh" {
			v, _, ok, err := s.Get(string(key))
			if want := strings.LastIndex(keys, string(key)); err != nil || ok != (want >= 0) || ok && v != int64(want) {
				t.Errorf("%s: %c is %d, %v, %v; want %d", what, key, v, ok, err, want)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
