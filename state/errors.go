// SPDX-License-Identifier: Apache-2.0

package state

import "errors"

var (
	// ErrClosed says that the base, store or backend has been closed.
	ErrClosed = errors.New("state: closed")
	// ErrUnusable says that what lies on disk is damaged or was written by another
	// kind of backend: it is to be set aside ([Backend.SetAside]) and rebuilt from
	// the changelog. Other errors of Open (no permission, disk full, a lock held)
	// are no reason to do so.
	ErrUnusable = errors.New("state: unusable data")
	// ErrLocked says that another process, or another Backend of this one, works
	// in the same folder.
	ErrLocked = errors.New("state: folder is in use")
	// ErrRestoring says that a store was used between Restore and Restored.
	ErrRestoring = errors.New("state: store is being restored")
	// ErrOrder says that layers were not committed in the order of sealing.
	ErrOrder = errors.New("state: layer committed out of order")
	// ErrNotFrozen says that a value given to a store was changed afterwards. It
	// is found only under -tags invariants.
	ErrNotFrozen = errors.New("state: a value was changed after it was given to the store")
	// ErrDamaged says that bytes read from a base or a changelog do not hold what
	// they must. The error's text tells which.
	ErrDamaged = errors.New("state: damaged bytes")
)
