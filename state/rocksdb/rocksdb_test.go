// SPDX-License-Identifier: Apache-2.0

//go:build rocksdb

package rocksdb_test

import (
	"testing"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/state/internal/statetest"
	"github.com/millrace/millrace/state/rocksdb"
)

var rig = statetest.Rig{
	At: func(dir string) state.Backend {
		return rocksdb.At(dir, rocksdb.BlockCache(4<<20), rocksdb.WriteBuffers(4<<20))
	},
	Durable: true,
}

func TestMain(m *testing.M) { statetest.Main(m, rig) }

func TestBase(t *testing.T) { statetest.Base(t, rig) }

func TestKill(t *testing.T) { statetest.Kill(t, rig) }

func TestStore(t *testing.T) { statetest.Store(t, rig) }

func TestTimed(t *testing.T) { statetest.Timed(t, rig) }

func TestList(t *testing.T) { statetest.List(t, rig) }

func BenchmarkRestore(b *testing.B) { statetest.BenchRestore(b, rig) }
