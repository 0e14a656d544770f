// SPDX-License-Identifier: Apache-2.0

package ktable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/millrace/millrace/opt"
	"github.com/millrace/millrace/serde"
	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/window"
)

// The rows of a store of count windows, in their order:
//
//	timer: 0 | time, the latest first, 8 bytes | key    -> 0
//	head:  1 | key                                      -> 1 | size, step, unit, count, oldest, timer, start: varints
//	piece: 2 | key | number 8 bytes                     -> 2 | start varint | 0, 1 or 2 | value
//
// A commit writes them in this order, and one that was not finished leaves the first
// of them in the changelog: timers that find nothing to do, heads without their newest
// pieces, but no key without a timer.
const (
	countTimer = iota
	countHead
	countPiece
)

// A countPlace is the key of a row.
type countPlace[K any] struct {
	kind byte
	at   int64 // of a timer its time, of a piece its number
	key  K
	bare bool // a bound of a scan: there is no key
}

// A countRow is a row's value.
type countRow[A any] struct {
	// Of a head. A window is known by its number, from 0.
	count  int64 // records of the key
	oldest int64 // the first window that is not complete
	timer  int64 // the time of the key's timer; 0: there is none

	start int64 // of a piece: stream time at its first record; of a head: at that of the youngest window
	value opt.V[A]
}

func countPlaces[K any](keys serde.Serde[K]) serde.Serde[countPlace[K]] {
	return serde.Serde[countPlace[K]]{
		Name: keys.Name,
		Append: func(dst []byte, p countPlace[K]) (_ []byte, err error) {
			dst = append(dst, p.kind)
			if p.kind == countTimer {
				dst = binary.BigEndian.AppendUint64(dst, math.MaxInt64-uint64(p.at))
			}
			if p.bare {
				return dst, nil
			}
			if dst, err = keys.Append(dst, p.key); err == nil && p.kind == countPiece {
				dst = binary.BigEndian.AppendUint64(dst, uint64(p.at))
			}
			return dst, err
		},
		Decode: func(src []byte) (p countPlace[K], err error) {
			if len(src) == 0 || src[0] > countPiece || src[0] != countHead && len(src) < 9 {
				return p, fmt.Errorf("key of a count window, %d bytes: %w", len(src), state.ErrDamaged)
			}
			p.kind = src[0]
			key := src[1:]
			switch p.kind {
			case countTimer:
				p.at, key = int64(math.MaxInt64-binary.BigEndian.Uint64(key)), key[8:]
			case countPiece:
				end := len(key) - 8
				p.at, key = int64(binary.BigEndian.Uint64(key[end:])), key[:end:end]
			}
			p.key, err = keys.Decode(key)
			return p, err
		},
	}
}

// Whether a piece has a value.
const (
	noValue = iota
	someValue
	nullValue // the null of its type
)

// countRows also tells when a store was kept by another rule.
func countRows[A any](values serde.Serde[A], name string, spec window.CountSpec, unit int64) serde.Serde[countRow[A]] {
	rule := [3]int64{spec.Size(), spec.Step(), unit}
	return serde.Serde[countRow[A]]{
		Name: fmt.Sprintf("count(%s)", values.Name),
		Append: func(dst []byte, r countRow[A]) ([]byte, error) {
			switch {
			case r.count > 0:
				dst = append(dst, countHead)
				for _, n := range [...]int64{rule[0], rule[1], rule[2], r.count, r.oldest, r.timer, r.start} {
					dst = binary.AppendVarint(dst, n)
				}
				return dst, nil
			case r.timer > 0:
				return append(dst, countTimer), nil
			}
			dst = binary.AppendVarint(append(dst, countPiece), r.start)
			switch {
			case !r.value.OK:
				return append(dst, noValue), nil
			case values.IsNull != nil && values.IsNull(r.value.Value):
				return append(dst, nullValue), nil
			}
			return values.Append(append(dst, someValue), r.value.Value)
		},
		Decode: func(src []byte) (r countRow[A], err error) {
			kind, rest, err := cutByte(src)
			if err != nil {
				return r, err
			}
			switch kind {
			case countTimer:
				r.timer = 1
				return r, onlyIf(len(rest) == 0)
			case countHead:
				var kept [3]int64
				for _, n := range [...]*int64{&kept[0], &kept[1], &kept[2], &r.count, &r.oldest, &r.timer, &r.start} {
					if rest, err = cutVarint(rest, n); err != nil {
						return r, err
					}
				}
				if kept != rule {
					err = fmt.Errorf("store %q was kept for windows of %d records every %d, in pieces of %d, and is used for %v, in pieces of %d: "+
						"give the aggregation another name, or reset the application", name, kept[0], kept[1], kept[2], spec, unit)
				} else {
					err = onlyIf(len(rest) == 0 && r.sound(spec))
				}
				return r, err
			}
			if rest, err = cutVarint(rest, &r.start); err != nil {
				return r, err
			}
			if kind != countPiece || r.start < 0 || r.start > maxCountNumber {
				return r, onlyIf(false)
			}
			return decodePiece(r, rest, values)
		},
	}
}

// maxCountNumber bounds what a row tells, so that sums of it do not overflow.
const maxCountNumber = 1 << 60

// sound tells whether a head can be one: a key has no more open windows than overlap.
func (r countRow[A]) sound(spec window.CountSpec) bool {
	for _, n := range [...]int64{r.oldest, r.timer, r.start} {
		if n < 0 || n > maxCountNumber {
			return false
		}
	}
	begun := r.count / spec.Step()
	return r.count > 0 && r.count < maxCountNumber && r.oldest <= begun+1 && begun-r.oldest <= spec.Size()/spec.Step()
}

func onlyIf(sound bool) error {
	if !sound {
		return fmt.Errorf("row of count windows: %w", state.ErrDamaged)
	}
	return nil
}

func decodePiece[A any](r countRow[A], src []byte, values serde.Serde[A]) (_ countRow[A], err error) {
	has, rest, err := cutByte(src)
	switch {
	case err != nil:
		return r, err
	case has == someValue:
		r.value.OK = true
		r.value.Value, err = values.Decode(rest)
	case has == nullValue:
		r.value.OK = true
		r.value.Value, err = values.Decode(nil)
	default:
		err = onlyIf(has == noValue && len(rest) == 0)
	}
	return r, err
}

var errShortRow = errors.New("row of count windows is too short")

func cutByte(src []byte) (byte, []byte, error) {
	if len(src) == 0 {
		return 0, nil, errShortRow
	}
	return src[0], src[1:], nil
}

func cutVarint(src []byte, n *int64) ([]byte, error) {
	v, size := binary.Varint(src)
	if size <= 0 {
		return nil, errShortRow
	}
	*n = v
	return src[size:], nil
}
