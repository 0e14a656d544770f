// SPDX-License-Identifier: Apache-2.0

//go:build !rocksdb

package rocksdb_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/state/rocksdb"
)

func TestWithoutTheTag(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	b := rocksdb.At(dir)
	if b.String() != "rocksdb" || b.Dir() != dir || rocksdb.Built {
		t.Errorf("String, Dir, Built = %q, %q, %v", b, b.Dir(), rocksdb.Built)
	}
	if _, err := b.Open("a/b"); !errors.Is(err, rocksdb.ErrNotBuilt) {
		t.Errorf("open: %v, want ErrNotBuilt", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("open touched the disk")
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
