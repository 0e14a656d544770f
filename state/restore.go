// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// restore is [Store.Restore].
func (s *core[V]) restore(recs []Change, h Header) error {
	if s.fold == nil {
		s.fold = &fold{}
		s.report.restoring(true)
	}
	for _, c := range recs {
		if err := s.refold(c); err != nil {
			return s.failed(fmt.Errorf("restore: %w", err))
		}
	}
	s.header, s.moved = h, true
	s.memory()
	limit := s.opt.Budget.restore(s.opt.RestoreBytes)
	if s.fold.size() < limit {
		return nil
	}
	if s.fold.sort(); s.fold.size() < limit/2 {
		return nil // keys have come many times
	}
	return s.unfold()
}

// refold folds c under its key in the base.
func (s *core[V]) refold(c Change) error {
	if s.clock != nil && bytes.Equal(c.Key, marksRecord) {
		if len(c.Value) != marksLen {
			return fmt.Errorf("observed time of %d bytes: %w", len(c.Value), ErrDamaged)
		}
		s.fold.marks = append(binary.BigEndian.AppendUint64(s.fold.marks[:0], uint64(c.Timestamp)), c.Value...)
		return nil
	}
	if s.layout != nil {
		key, err := s.layout.FromChangelog(s.keyBuf, c.Key)
		if err != nil {
			return fmt.Errorf("key %x: %w: %w", c.Key, ErrDamaged, err)
		}
		s.keyBuf, c.Key = key, key
		if s.clock != nil {
			s.clock.restored.restored(s.clock.rows.Time(key), s.clock.rows.Seq(key))
		}
	}
	s.fold.add(c)
	return nil
}

// restored is [Store.Restored].
func (s *core[V]) restored() error {
	if s.fold == nil {
		return nil
	}
	if err := s.foldMarks(); err != nil {
		return err
	}
	l := s.fold.layer()
	s.fold = nil
	s.report.restoring(false)
	if err := s.takeIn(l); err != nil {
		return err
	}
	s.memory()
	if s.clock != nil {
		s.clock.known, s.clock.restored = false, noMarks
	}
	return nil
}

// foldMarks makes what is folded of a store with a clock say how far its rows reach:
// the last of them may have been written without the marks of their commit, or all by
// Kafka Streams, which has none.
func (s *core[V]) foldMarks() error {
	if s.clock == nil {
		return nil
	}
	var m marks
	seen := s.clock.restored
	var err error
	if s.fold.marks != nil {
		m, err = parseMarks(s.fold.marks)
	} else {
		m, err = s.readMarks(nil)
	}
	if err != nil {
		return fmt.Errorf("restore store %s: %w", s.name, err)
	}
	was := m
	m.reach = max(m.reach, seen.reach)
	if m.observed == NoTime {
		m.seq = max(m.seq, seen.seq)
	}
	if m != was {
		s.fold.marks = m.append(nil)
	}
	return nil
}

// unfold loads what was folded into the base.
func (s *core[V]) unfold() error {
	if err := s.foldMarks(); err != nil {
		return err
	}
	if err := load(s.base, s.fold.layer(), s.header); err != nil {
		return fmt.Errorf("restore store %s: %w", s.name, err)
	}
	s.moved = false
	return nil
}
