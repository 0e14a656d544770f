// SPDX-License-Identifier: Apache-2.0

package runtime

import "time"

// restoreTold is the time between two lines of the log about a restore that goes on.
const restoreTold = 10 * time.Second

// restoreLeft estimates how long a restore will still take, from what it has taken so
// far. 0: it is over, or has not read anything yet.
func restoreLeft(done, all int64, took time.Duration) time.Duration {
	if done <= 0 || all <= done {
		return 0
	}
	return time.Duration(float64(took) / float64(done) * float64(all-done)).Round(time.Second / 10)
}

// left is restoreLeft of the slot's restore, at now.
func (s *slot) left(now time.Time) time.Duration {
	began := s.restoreBegan.Load()
	if began == 0 {
		return 0
	}
	return restoreLeft(s.restored.Load(), s.toRestore.Load(), now.Sub(time.Unix(0, began)))
}

// tellRestore logs now and then how far a restore is.
func (a *App) tellRestore(s *slot, store string) {
	now := time.Now()
	if now.Sub(s.restoreTold) < restoreTold {
		return
	}
	s.restoreTold = now
	a.log.Info("restoring", "task", s.id, "store", store,
		"read", s.restored.Load(), "of", s.toRestore.Load(), "left", s.left(now))
}

// beginRestore notes when the reading of changelogs begins.
func (s *slot) beginRestore() {
	s.restoreTold = time.Now()
	s.restoreBegan.Store(s.restoreTold.UnixNano())
}

// endRestore logs what a restore has taken, loudly if anybody has waited for it.
func (a *App) endRestore(s *slot) {
	n, took := s.restored.Load(), time.Since(time.Unix(0, s.restoreBegan.Load()))
	say := a.log.Debug
	if took >= restoreTold {
		say = a.log.Info
	}
	say("restored", "task", s.id, "stores", len(s.stores), "records", n, "took", took)
}
