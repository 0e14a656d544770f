// SPDX-License-Identifier: Apache-2.0

package window_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/window"
)

func TestJoinSpec(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		spec                       window.JoinSpec
		before, after, grace, keep int64
		ok                         bool
	}{
		"symmetric":                   {window.Within(10 * s), 10_000, 10_000, 0, 20_000, true},
		"with grace":                  {window.Within(10 * s).Grace(s), 10_000, 10_000, 1000, 21_000, true},
		"only later":                  {window.Within(10 * s).Before(0), 0, 10_000, 0, 10_000, true},
		"later by 3 to 10":            {window.Within(10 * s).Before(-3 * s), -3000, 10_000, 0, 7000, true},
		"the same ms":                 {window.Within(0), 0, 0, 0, 1, true},
		"no time between":             {window.Within(3 * s).Before(-4 * s), -4000, 3000, 0, 1, false},
		"a part of a ms":              {window.Within(time.Microsecond), 0, 0, 0, 1, false},
		"a grace period in the past ": {window.Within(s).Grace(-s), 1000, 1000, -1000, 1000, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := [4]int64{c.spec.BeforeMs(), c.spec.AfterMs(), c.spec.GraceMs(), c.spec.KeepMs()}
			if want := [4]int64{c.before, c.after, c.grace, c.keep}; got != want {
				t.Errorf("before, after, grace and keep are %d, want %d", got, want)
			}
			if err := c.spec.Check(); (err == nil) != c.ok {
				t.Errorf("Check: %v", err)
			}
		})
	}
}
