// SPDX-License-Identifier: Apache-2.0

package kstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/processor"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/window"
)

// An unmatched is what of a left or outer join has met nothing yet, in one task. It
// follows KStreamKStreamJoin.emitNonJoinedOuterRecords of Kafka Streams, with its
// order and with its rule of when to look.
type unmatched[K, L, R any] struct {
	env    plan.Env
	within window.JoinSpec
	store  *state.KeyValueStore[waitKey[K], waiting[L, R]]
	// oldest is the time of the oldest record that waits, as far as the last look went,
	// or NoTime. It is committed: the next look depends on it.
	oldest *int64
	// first bounds the times of all records that wait from below: looks begin there.
	first int64
	// nextLook is the wall time before which there is none.
	nextLook int64
}

func newUnmatched[K, L, R any](env plan.Env, n *plan.Node, store string, within window.JoinSpec) *unmatched[K, L, R] {
	return &unmatched[K, L, R]{
		env: env, within: within, store: env.Store(store).(*state.KeyValueStore[waitKey[K], waiting[L, R]]),
		oldest: env.Observed(&plan.Node{Name: store + " oldest"}), // no other name has a space,
	}
}

// add keeps the value of a record that has met nothing.
func (u *unmatched[K, L, R]) add(key K, at int64, v sided[L, R]) error {
	c, err := u.store.Cell(waitKey[K]{at: at, left: v.isLeft, key: key})
	if err != nil {
		return err
	}
	w := c.Value
	if v.isLeft {
		w.left = append(slices.Clip(w.left), v.left.Value) // what a store was given stays as it is
	} else {
		w.right = append(slices.Clip(w.right), v.right.Value)
	}
	u.store.Set(c, w, at)
	u.first = min(u.first, at)
	if *u.oldest == plan.NoTime || at < *u.oldest {
		*u.oldest = at
	}
	return nil
}

// remove drops the values of one side under a key and time: they have met something.
func (u *unmatched[K, L, R]) remove(key K, at int64, left bool) error {
	if at < u.first {
		return nil
	}
	c, err := u.store.Cell(waitKey[K]{at: at, left: left, key: key})
	if err == nil && c.OK {
		u.store.Unset(c, at)
	}
	return err
}

// due calls emit for what can meet nothing any more at the time observed, in order of
// time, right before left, and key. It looks only if the oldest record is out of
// bounds for one that has come with the bound after.
func (u *unmatched[K, L, R]) due(observed, after int64, emit func(key K, l opt.V[L], r opt.V[R], at int64) error) error {
	if *u.oldest == plan.NoTime || *u.oldest+after+u.within.GraceMs() >= observed || !u.mayLook() {
		return nil
	}
	sc := u.store.Range(opt.Some(waitKey[K]{at: u.first, bare: true}), opt.None[waitKey[K]](), state.Forward)
	defer sc.Close() //nolint:errcheck // Err has told
	*u.oldest = plan.NoTime
	kept := int64(math.MaxInt64) // the first that stays
	var openLeft, openRight bool
	for sc.Next() {
		k, w := sc.Key(), sc.Value()
		*u.oldest = k.at
		if openLeft && openRight {
			kept = min(kept, k.at)
			break
		}
		if u.open(k, observed) {
			openLeft, openRight = openLeft || k.left, openRight || !k.left
			kept = min(kept, k.at)
			if openLeft && openRight && len(w.left)+len(w.right) > 1 {
				break // each value counts: the look ends at the second one
			}
			continue
		}
		for _, v := range w.left {
			if err := emit(k.key, opt.Some(v), opt.None[R](), k.at); err != nil {
				return err
			}
		}
		for _, v := range w.right {
			if err := emit(k.key, opt.None[L](), opt.Some(v), k.at); err != nil {
				return err
			}
		}
		if err := u.store.Delete(k, k.at); err != nil {
			return err
		}
	}
	if sc.Err() == nil {
		u.first = kept
	}
	return sc.Err()
}

// open tells whether a record may still meet one of the other side.
func (u *unmatched[K, L, R]) open(k waitKey[K], observed int64) bool {
	after := u.within.AfterMs()
	if !k.left {
		after = u.within.BeforeMs()
	}
	return k.at+after+u.within.GraceMs() >= observed
}

// mayLook holds the interval between looks, by the time of day.
func (u *unmatched[K, L, R]) mayLook() bool {
	interval := u.env.EmitInterval()
	if interval == 0 {
		return true
	}
	now := u.env.WallTime()
	if now < u.nextLook {
		return false
	}
	u.nextLook = now + interval
	return true
}

// A waitKey is where values wait: those of one side, one key and one time.
type waitKey[K any] struct {
	at   int64
	left bool
	key  K
	bare bool // only the time: a bound
}

// waiting are values of one side.
type waiting[L, R any] struct {
	left  []L
	right []R
}

// unmatchedStore registers the store of what has met nothing yet.
func unmatchedStore[K, L, R any](t *processor.Topology, name string, keys serde.Serde[K], lefts serde.Serde[L], rights serde.Serde[R]) *plan.Store {
	return t.Graph().AddStore(&plan.Store{
		Name: name, Site: plan.Site(),
		Open: func(base state.Base, opt state.Options) state.Store {
			return state.OpenKeyValue(name, waitKeys(keys), waitingValues(lefts, rights), base, opt)
		},
	})
}

// waitKeys is the encoding of waitKey, which sorts as looks go:
//
//	time int64 | 1 if left, else 0 | key
func waitKeys[K any](keys serde.Serde[K]) serde.Serde[waitKey[K]] {
	return serde.Serde[waitKey[K]]{
		Name: "waiting(" + keys.Name + ")",
		Append: func(dst []byte, k waitKey[K]) ([]byte, error) {
			dst = binary.BigEndian.AppendUint64(dst, uint64(k.at))
			if k.bare {
				return dst, nil
			}
			left := byte(0)
			if k.left {
				left = 1
			}
			return keys.Append(append(dst, left), k.key)
		},
		Decode: func(b []byte) (k waitKey[K], err error) {
			if len(b) < 9 {
				return k, errShortWait
			}
			k.at, k.left = int64(binary.BigEndian.Uint64(b)), b[8] != 0
			k.key, err = keys.Decode(b[9:])
			return k, err
		},
	}
}

var errShortWait = errors.New("join: the bytes of waiting records are cut off")

// waitingValues is the encoding of waiting:
//
//	1 if left, else 0 | of each value: length uint32, bytes
func waitingValues[L, R any](lefts serde.Serde[L], rights serde.Serde[R]) serde.Serde[waiting[L, R]] {
	return serde.Serde[waiting[L, R]]{
		Name: fmt.Sprintf("waiting(%s,%s)", lefts.Name, rights.Name),
		Append: func(dst []byte, w waiting[L, R]) ([]byte, error) {
			if len(w.left) > 0 {
				return appendWaiting(append(dst, 1), lefts, w.left)
			}
			return appendWaiting(append(dst, 0), rights, w.right)
		},
		Decode: func(b []byte) (w waiting[L, R], err error) {
			if len(b) == 0 {
				return w, errShortWait
			}
			if b[0] == 1 {
				w.left, err = parseWaiting(b[1:], lefts)
			} else {
				w.right, err = parseWaiting(b[1:], rights)
			}
			return w, err
		},
	}
}

func appendWaiting[V any](dst []byte, s serde.Serde[V], values []V) (_ []byte, err error) {
	for _, v := range values {
		at := len(dst)
		if dst, err = s.Append(append(dst, 0, 0, 0, 0), v); err != nil {
			return dst, err
		}
		n := len(dst) - at - 4
		if n > math.MaxInt32 {
			return dst, fmt.Errorf("value of %d bytes", n)
		}
		binary.BigEndian.PutUint32(dst[at:], uint32(n))
	}
	return dst, nil
}

func parseWaiting[V any](b []byte, s serde.Serde[V]) (values []V, err error) {
	for len(b) > 0 {
		if len(b) < 4 || uint64(len(b)-4) < uint64(binary.BigEndian.Uint32(b)) {
			return nil, errShortWait
		}
		n := 4 + int(binary.BigEndian.Uint32(b))
		v, err := s.Decode(b[4:n:n])
		if err != nil {
			return nil, err
		}
		values, b = append(values, v), b[n:]
	}
	return values, nil
}
