// SPDX-License-Identifier: Apache-2.0

package pebble_test

import (
	"testing"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/state/internal/statetest"
	"github.com/millrace/millrace/state/pebble"
)

var rig = statetest.Rig{
	At: func(dir string) state.Backend {
		return pebble.At(dir, pebble.BlockCache(4<<20), pebble.WriteBuffer(1<<20))
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
