// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Incremental fetch sessions (KIP-227): the broker remembers what a client asks
// for, the client sends only what has changed, and is told only of partitions with
// news. A session is one client's; each of its requests has the epoch after the
// last one's, so that a request that comes twice, or too late, is refused. Clients
// that are refused begin anew.

// Epochs of sessions that mean something else.
const (
	firstEpoch = 0  // a full fetch, which may begin a session
	finalEpoch = -1 // a full fetch, which ends the session
)

// sessionAge is how long a session is safe from another that wants its place:
// from its last use, or if the other is larger from its beginning.
const sessionAge = 2 * time.Minute

// maxSessionParts bounds the partitions of all sessions together. Each takes some
// 200 bytes.
const maxSessionParts = 500_000

// fetchSessions has the sessions. Lock order: a session's mu before its own.
type fetchSessions struct {
	slots int

	mu    sync.Mutex
	byID  map[int32]*fetchSession
	parts int // of all sessions
}

func newFetchSessions(slots int) *fetchSessions {
	return &fetchSessions{slots: slots, byID: make(map[int32]*fetchSession)}
}

// A fetchSession is one session.
type fetchSession struct {
	id   int32
	byID bool // topics are named by their ids

	began, used time.Time // guarded by the mu of fetchSessions
	size        int       // of parts, as counted there; guarded by it too

	mu    sync.Mutex
	epoch int32 // of the next request
	order []*sessionPart
	parts map[partKey]*sessionPart
}

// A sessionPart is a partition of a session. Its fields are guarded by the mu of
// the session.
type sessionPart struct {
	key      partKey
	want     wanted
	part     *partition // as found the last time
	hw       int64      // that the client was told
	logStart int64      // that the client was told
	gone     bool       // no longer in the session
}

// begin makes a session of a full fetch, if there is room for one.
func (ss *fetchSessions) begin(f *fetching) {
	s := &fetchSession{byID: byID(f.req), epoch: 1, parts: make(map[partKey]*sessionPart, len(f.parts))}
	for i := range f.parts {
		p := &f.parts[i]
		p.member = s.add(p.partKey)
		p.member.want, p.member.part = p.wanted, p.part
	}
	if ss.insert(s, time.Now()) {
		f.session = s
	}
}

// add returns the partition of the session with the key, a new one if need be.
func (s *fetchSession) add(k partKey) *sessionPart {
	p := s.parts[k]
	if p == nil {
		p = &sessionPart{key: k, hw: -1, logStart: -1}
		s.parts[k] = p
		s.order = append(s.order, p)
	}
	return p
}

// insert gives s an id and a place, that of another if all are taken.
func (ss *fetchSessions) insert(s *fetchSession, now time.Time) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s.size = len(s.order)
	if ss.parts+s.size > maxSessionParts || len(ss.byID) >= ss.slots && !ss.evictLocked(s.size, now) {
		return false
	}
	for s.id == 0 || ss.byID[s.id] != nil {
		s.id = 1 + rand.Int32N(math.MaxInt32)
	}
	s.began, s.used = now, now
	ss.byID[s.id] = s
	ss.parts += s.size
	return true
}

// evictLocked makes room for a session of size partitions: it ends the one that
// was not used for longest, if that is long, else the smallest of those that are
// old, if that is smaller.
func (ss *fetchSessions) evictLocked(size int, now time.Time) bool {
	var idle, small *fetchSession
	for _, s := range ss.byID {
		if idle == nil || s.used.Before(idle.used) {
			idle = s
		}
		if now.Sub(s.began) > sessionAge && (small == nil || s.size < small.size) {
			small = s
		}
	}
	switch {
	case idle != nil && now.Sub(idle.used) > sessionAge:
		ss.removeLocked(idle)
	case small != nil && small.size < size:
		ss.removeLocked(small)
	default:
		return false
	}
	return true
}

func (ss *fetchSessions) removeLocked(s *fetchSession) {
	if ss.byID[s.id] == s {
		delete(ss.byID, s.id)
		ss.parts -= s.size
	}
}

// remove ends a session.
func (ss *fetchSessions) remove(id int32) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if s := ss.byID[id]; s != nil {
		ss.removeLocked(s)
	}
}

// use finds a session and notes that it is used.
func (ss *fetchSessions) use(id int32, now time.Time) *fetchSession {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s := ss.byID[id]
	if s != nil {
		s.used = now
	}
	return s
}

// resized counts the partitions that a session has now. It ends one that has none,
// or for which there is no room.
func (ss *fetchSessions) resized(s *fetchSession, size int) (alive bool) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.byID[s.id] != s {
		return false
	}
	ss.parts += size - s.size
	s.size = size
	if size == 0 || ss.parts > maxSessionParts {
		ss.removeLocked(s)
	}
	return ss.byID[s.id] == s
}

// resume takes up the session of an incremental fetch.
func (ss *fetchSessions) resume(f *fetching) (code int16) {
	s := ss.use(f.req.SessionID, time.Now())
	if s == nil {
		return kerr.FetchSessionIDNotFound.Code
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.byID != byID(f.req):
		return kerr.FetchSessionTopicIDError.Code
	case s.epoch != f.req.SessionEpoch:
		return kerr.InvalidFetchSessionEpoch.Code
	}
	if s.epoch++; s.epoch < 0 {
		s.epoch = 1
	}
	s.change(f.req)
	alive := ss.resized(s, len(s.order))
	if !alive && len(s.order) > 0 {
		return kerr.FetchSessionIDNotFound.Code // no room: the client begins anew
	}
	if alive {
		f.session = s
	}
	f.parts = make([]fetchPart, len(s.order))
	for i, m := range s.order {
		if m.part == nil || m.part.isGone() {
			m.part = f.b.find(f.req, m.key)
		}
		f.parts[i] = fetchPart{partKey: m.key, wanted: m.want, part: m.part, member: m}
	}
	return 0
}

// change adds and forgets partitions as a request says. The mu is held.
func (s *fetchSession) change(req *kmsg.FetchRequest) {
	eachWanted(req, func(k partKey, w wanted) { s.add(k).want = w })
	forgotten := false
	for i := range req.ForgottenTopics {
		t := &req.ForgottenTopics[i]
		for _, partition := range t.Partitions {
			k := keyOf(req, t.Topic, t.TopicID, partition)
			if p := s.parts[k]; p != nil {
				p.gone, forgotten = true, true
				delete(s.parts, k)
			}
		}
	}
	if forgotten {
		s.order = keep(s.order, func(p *sessionPart) bool { return !p.gone })
	}
}

// keep is a new slice with what keep is true for.
func keep(all []*sessionPart, keep func(*sessionPart) bool) []*sessionPart {
	some := make([]*sessionPart, 0, len(all))
	for _, p := range all {
		if keep(p) {
			some = append(some, p)
		}
	}
	return some
}

// news decides which partitions the client is told of, notes what it was told, and
// puts those that got records behind the others: they wait longest the next time.
func (s *fetchSession) news(f *fetching) {
	s.mu.Lock()
	defer s.mu.Unlock()
	served := make(map[*sessionPart]bool)
	some := f.parts[:0]
	for i := range f.parts {
		p := &f.parts[i]
		m := p.member
		news := f.full || p.code != 0 || p.diverged != nil || p.slice.Len() > 0 || p.hw != m.hw || p.logStart != m.logStart
		m.hw, m.logStart = p.hw, p.logStart // -1 with an error: what comes after it is news
		if p.slice.Len() > 0 {
			served[m] = true
		}
		if news {
			some = append(some, *p)
		}
	}
	f.parts = some
	if len(served) > 0 && len(served) < len(s.order) {
		front := keep(s.order, func(m *sessionPart) bool { return !served[m] })
		s.order = append(front, keep(s.order, func(m *sessionPart) bool { return served[m] })...)
	}
}
