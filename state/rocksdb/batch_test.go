// SPDX-License-Identifier: Apache-2.0

//go:build rocksdb

package rocksdb

import (
	"bytes"
	"testing"

	"github.com/linxGnu/grocksdb"
)

func TestABatchIsAsTheLibraryMakesIt(t *testing.T) {
	backend := At(t.TempDir())
	t.Cleanup(func() {
		if err := backend.Close(); err != nil {
			t.Error(err)
		}
	})
	d, err := backend.Open("x")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	made, err := d.Base("store")
	if err != nil {
		t.Fatal(err)
	}
	b := made.(*base)
	if b.family.ID() == 0 {
		t.Fatal("a store is in the default family, which entries do not name")
	}

	long := bytes.Repeat([]byte("v"), 300) // a length of two bytes
	ours := newBatch(b.family.ID())
	defer ours.release()
	ours.deleteRange([]byte("a"), long)
	ours.put([]byte("key"), long)
	ours.put(long, nil)
	ours.delete([]byte("gone"))
	ours.delete(nil)
	ours.header([]byte("header"))
	native := ours.native()
	defer native.Destroy()

	theirs := grocksdb.NewWriteBatch()
	defer theirs.Destroy()
	key := func(k []byte) []byte { return appendKey(nil, dataKey, k) }
	theirs.DeleteRangeCF(b.family, key([]byte("a")), key(long))
	theirs.PutCF(b.family, key([]byte("key")), long)
	theirs.PutCF(b.family, key(long), nil)
	theirs.DeleteCF(b.family, key([]byte("gone")))
	theirs.DeleteCF(b.family, key(nil))
	theirs.PutCF(b.family, []byte{headerKey}, []byte("header"))

	if !bytes.Equal(native.Data(), theirs.Data()) || native.Count() != theirs.Count() {
		t.Errorf("a batch of %d entries is\n% x, want %d,\n% x", native.Count(), native.Data(), theirs.Count(), theirs.Data())
	}
	if err := b.db.r.Write(b.db.shared.write, native); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := b.AppendGet(nil, []byte("key")); err != nil || !ok || !bytes.Equal(got, long) {
		t.Errorf("what the batch has put is %q, %v, %v", got, ok, err)
	}
}
