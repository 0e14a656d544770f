// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/millrace/millrace/state/internal/gate"
)

func TestCloseWaitsForTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate.Gate
		for range 2 {
			if !g.Enter() {
				t.Fatal("an open gate refused")
			}
		}
		done := make(chan bool)
		go func() { done <- g.Close() }()
		closing := func() {
			t.Helper()
			synctest.Wait()
			select {
			case <-done:
				t.Fatal("Close came back before the last had left")
			default:
			}
		}
		closing()
		if g.Enter() {
			t.Error("a gate that is being closed let somebody in")
		}
		closing()
		g.Leave()
		closing()
		g.Leave()
		if !<-done {
			t.Error("the first Close says that it was not the first")
		}
		if g.Enter() || g.Close() {
			t.Error("a closed gate opens, or closes again")
		}
	})
}

func TestManyBesideClose(t *testing.T) {
	var g gate.Gate
	var wg sync.WaitGroup
	inside := make([]int, 4) // written inside only: Close must come after
	for i := range inside {
		wg.Go(func() {
			for g.Enter() {
				inside[i]++
				g.Leave()
			}
		})
	}
	g.Close()
	for i := range inside {
		inside[i] = 0 // a race if one is still inside
	}
	wg.Wait()
}
