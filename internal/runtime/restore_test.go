// SPDX-License-Identifier: Apache-2.0

package runtime_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/runtime"
	"github.com/millrace/millrace/internal/runtime/link"
)

// A task that restores for minutes keeps no other of its worker from work, and says how
// long it will take.
func TestARestoreHoldsNoRunningTaskUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cluster(2)
		c.Create("app-n-changelog", 2, nil)
		for i := range 10_000 {
			c.Append("app-n-changelog", 1, plan.Raw{Key: fmt.Appendf(nil, "k%d", i), Value: appendInt64(1)})
		}
		c.Fault(func(step string, p link.Partition) error {
			if step == "read" && p.Num == 1 { // a hundred records each
				time.Sleep(time.Second)
			}
			return nil
		})
		var log logBuffer
		a := app(t, c, counting(t, "n"), func(cfg *runtime.Config) { cfg.Workers = 1; log.into(cfg) })
		time.Sleep(20*time.Second + time.Millisecond)
		c.Append("in", 0, plan.Raw{Key: []byte("k"), Value: []byte("v")})
		c.Append("in", 1, plan.Raw{Key: []byte("k"), Value: []byte("v")})
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		p := a.Progress()
		if n := c.Committed("app", link.Partition{Topic: "in"}); n != 1 || p.Tasks[0].Records != 1 {
			t.Errorf("%d records are committed and %d processed beside a restore, want 1", n, p.Tasks[0].Records)
		}
		r := p.Tasks[1]
		if r.Running || r.Restored != 2000 || r.ToRestore != 10_000 || r.RestoreLeft < 79*time.Second || r.RestoreLeft > 82*time.Second {
			t.Errorf("after 20 of 100 s: %+v", r)
		}
		if n := log.count("restoring"); n != 2 {
			t.Errorf("the log tells %d times of it in 20 s, want 2", n)
		}
		time.Sleep(90 * time.Second)
		if r = a.Progress().Tasks[1]; !r.Running || r.Records != 1 || r.RestoreLeft != 0 || log.count("msg=restored") != 1 {
			t.Errorf("after the restore: %+v", r)
		}
		if err := closeApp(a); err != nil {
			t.Fatal(err)
		}
	})
}

// The brokers are gone for good: what is processed can't be committed, and Close gives
// up when it is told to.
func TestCloseWithoutABroker(t *testing.T) {
	for _, when := range []string{"before it is found", "in a restore", "while records come"} {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := cluster(1)
				c.Create("app-n-changelog", 1, nil)
				c.Append("app-n-changelog", 0, plan.Raw{Key: []byte("k"), Value: appendInt64(1)})
				c.Away(when == "before it is found")
				c.Fault(func(step string, _ link.Partition) error {
					if step == "read" && when == "in a restore" {
						time.Sleep(2 * time.Second)
					}
					return nil
				})
				a := app(t, c, counting(t, "n"))
				time.Sleep(time.Second)
				c.Away(true)
				if when == "while records come" {
					fill(c, 50)
				}
				time.Sleep(time.Minute)
				began := time.Now()
				_ = closeApp(a) // within 10 s
				if took := time.Since(began); took > 13*time.Second {
					t.Errorf("Close took %s, with a bound of 10 s", took)
				}
				select {
				case <-a.Done():
				default:
					t.Error("the application is not done")
				}
			})
		})
	}
}
