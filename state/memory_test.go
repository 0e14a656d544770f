// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"testing"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/state/internal/statetest"
)

var rig = statetest.Rig{At: func(string) state.Backend { return state.Memory() }}

func TestMemoryBase(t *testing.T) { statetest.Base(t, rig) }

func TestMemoryStore(t *testing.T) { statetest.Store(t, rig) }

func TestMemoryTimed(t *testing.T) { statetest.Timed(t, rig) }

func TestMemoryList(t *testing.T) { statetest.List(t, rig) }
