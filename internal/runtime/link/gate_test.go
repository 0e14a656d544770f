// SPDX-License-Identifier: Apache-2.0

package link

import (
	"testing"
	"testing/synctest"
)

func TestHandlersAndPollsKeepEachOtherOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		if !g.poll() || g.poll() {
			t.Error("the first poll is the one that closes the gate")
		}
		var ran, over, polled bool
		end := make(chan struct{})
		go g.handle(func() { ran = true; <-end; over = true })
		synctest.Wait()
		if ran {
			t.Fatal("a handler runs while what was polled is not delivered")
		}
		g.delivered()
		synctest.Wait()
		if !ran {
			t.Fatal("the handler does not run though all is delivered")
		}
		go func() { g.poll(); polled = true }()
		synctest.Wait()
		if polled {
			t.Fatal("a poll returns while a handler runs")
		}
		close(end)
		synctest.Wait()
		if !over || !polled {
			t.Fatal("the poll does not go on after the handler")
		}

		ran = false
		go g.handle(func() { ran = true })
		synctest.Wait()
		g.end()
		synctest.Wait()
		if !ran {
			t.Error("a handler waits though all is over")
		}
	})
}

// A handler that waits for its turn goes before the next poll.
func TestAPollDoesNotOvertakeAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		var order []string
		g.poll()
		go g.handle(func() { order = append(order, "handler") })
		synctest.Wait()
		g.delivered()
		g.poll()
		order = append(order, "poll")
		if len(order) != 2 || order[0] != "handler" {
			t.Errorf("the order is %v", order)
		}
		g.delivered()
	})
}
