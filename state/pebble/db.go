// SPDX-License-Identifier: Apache-2.0

package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace/millrace/state"
	"github.com/millrace/millrace/state/internal/gate"
)

// db is the DB of one task. Its keys:
//
//	store uint32 | 0        the header of a store
//	store uint32 | 1 | key  an entry of it
//	0 uint32 | name         the number of the store with this name, uint32
//
// A store gets its number when it is first asked for, durably, before anything is
// written under it: a table that is loaded may be durable before older writes.
type db struct {
	dir     string
	fs      vfs.FS
	opts    *pebble.Options
	p       *pebble.DB
	gate    gate.Gate
	flushMu sync.Mutex // one Flush at a time; holds nothing else
	flushed chan error // a flush has failed; one place, so that Pebble never waits
	numbers map[string]uint32
	bases   map[string]*base
	left    func() // gives the folder back
}

const directory = uint32(0)

func (d *db) readDirectory() error {
	d.numbers = map[string]uint32{}
	lower := binary.BigEndian.AppendUint32(nil, directory)
	it, err := d.p.NewIter(&pebble.IterOptions{
		LowerBound: lower,
		UpperBound: binary.BigEndian.AppendUint32(nil, directory+1),
	})
	if err != nil {
		return classify(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err == nil && len(value) != 4 {
			err = fmt.Errorf("number of store %q: %w: %w", it.Key()[4:], state.ErrDamaged, state.ErrUnusable)
		}
		if err != nil {
			return errors.Join(classify(err), it.Close())
		}
		d.numbers[string(it.Key()[4:])] = binary.BigEndian.Uint32(value)
	}
	if err := it.Close(); err != nil {
		return classify(err)
	}
	return nil
}

// Base implements [state.DB].
func (d *db) Base(name string) (state.Base, error) {
	if !d.gate.Enter() {
		return nil, fmt.Errorf("store %s: %w", name, state.ErrClosed)
	}
	defer d.gate.Leave()
	if b := d.bases[name]; b != nil {
		return b, nil
	}
	number, ok := d.numbers[name]
	if !ok {
		var err error
		if number, err = d.addStore(name); err != nil {
			return nil, fmt.Errorf("store %s: %w", name, err)
		}
	}
	b := &base{db: d, number: number}
	d.bases[name] = b
	return b, nil
}

func (d *db) addStore(name string) (uint32, error) {
	number := directory
	for _, n := range d.numbers {
		number = max(number, n)
	}
	number++
	key := append(binary.BigEndian.AppendUint32(nil, directory), name...)
	if err := d.p.Set(key, binary.BigEndian.AppendUint32(nil, number), pebble.NoSync); err != nil {
		return 0, err
	}
	if err := d.flush(); err != nil {
		return 0, err
	}
	d.numbers[name] = number
	return number, nil
}

// flush makes all stores durable.
func (d *db) flush() error {
	d.flushMu.Lock()
	defer d.flushMu.Unlock()
	select {
	case <-d.flushed: //nolint:errcheck // of a try that nobody waited for
	default:
	}
	bases := d.applied()
	done, err := d.p.AsyncFlush()
	if err != nil {
		return classify(err)
	}
	select {
	case <-done:
	case err := <-d.flushed: // Pebble tries again for ever
		return classify(err)
	}
	for b, n := range bases {
		b.unflushed.Add(-n)
	}
	return nil
}

// applied tells how much each base has taken up to now.
func (d *db) applied() map[*base]int64 {
	sizes := map[*base]int64{}
	for _, b := range d.bases {
		sizes[b] = b.unflushed.Load()
	}
	return sizes
}

func (d *db) flushEnd(info pebble.FlushInfo) {
	// Flushing nothing is told as an error that has no name, and succeeds.
	if info.Err != nil && info.Err.Error() != "pebble: empty table" {
		select {
		case d.flushed <- info.Err:
		default:
		}
	}
}

// Close implements [state.DB].
func (d *db) Close() error {
	if !d.gate.Close() {
		return nil
	}
	err := errors.Join(d.flush(), d.p.Close())
	if d.left != nil {
		d.left()
	}
	if err != nil {
		return fmt.Errorf("close pebble %s: %w", d.dir, err)
	}
	return nil
}
