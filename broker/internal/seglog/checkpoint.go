// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
)

// The small files of a log, big endian:
//
//	checkpoint  "MRCP" | version uint16 = 1 | log start offset int64 | recovery point int64 | CRC
//	cleaner-checkpoint  "MRCC" | version uint16 = 1 | compacted up to int64 | sparse up to int64 | CRC
//	.clean      "MRCL" | version uint16 = 1 | log end offset int64 | base of the last segment int64 | its bytes int64 | CRC
//
// The CRC-32C, a uint32, is of all before it. Where the disk is full the checkpoint
// is not written anew but renamed: in <offset>.checkpoint the name is what tells the log
// start offset.
const (
	checkpointName = "checkpoint"
	startSuffix    = ".checkpoint"
	cleanName      = ".clean"
	cleanerName    = "cleaner-checkpoint"
	epochsName     = "leader-epoch-checkpoint"

	checkpointMagic  = "MRCP"
	checkpointFields = 2
	cleanerMagic     = "MRCC"
	cleanerFields    = 2
	cleanMagic       = "MRCL"
	cleanFields      = 3
	markVersion      = 1
	markOverhead     = 10
)

var errMark = errors.New("malformed file")

// encodeMark writes a small file of the given fields.
func encodeMark(magic string, fields ...int64) []byte {
	be := binary.BigEndian
	p := make([]byte, 0, markOverhead+8*len(fields))
	p = append(p, magic...)
	p = be.AppendUint16(p, markVersion)
	for _, f := range fields {
		p = be.AppendUint64(p, uint64(f))
	}
	return be.AppendUint32(p, crc32.Checksum(p, castagnoli))
}

// decodeMark reads n fields, none of them negative.
func decodeMark(magic string, n int, p []byte) ([]int64, error) {
	be := binary.BigEndian
	end := len(p) - 4
	if len(p) != markOverhead+8*n || string(p[:4]) != magic || be.Uint16(p[4:]) != markVersion ||
		be.Uint32(p[end:]) != crc32.Checksum(p[:end], castagnoli) {
		return nil, errMark
	}
	fields := make([]int64, n)
	for i := range fields {
		if fields[i] = int64(be.Uint64(p[6+8*i:])); fields[i] < 0 {
			return nil, errMark
		}
	}
	return fields, nil
}

// readMark reads a small file of the log's folder.
func (l *Log) readMark(name, magic string, n int) ([]int64, error) {
	p, err := readFile(l.cfg.FS, filepath.Join(l.cfg.Dir, name), int64(markOverhead+8*n))
	if errors.Is(err, errTooLong) {
		return nil, errMark
	}
	if err != nil {
		return nil, err
	}
	return decodeMark(magic, n, p)
}

// readCheckpoint reads the checkpoint under its own name and under those that it has
// got on a full disk. A crash may leave several: the log start offset and the recovery
// point never move back, so the highest of each holds.
func (l *Log) readCheckpoint(moved []int64) (start, recovery int64, err error) {
	point, err := l.readMark(checkpointName, checkpointMagic, checkpointFields)
	if err == nil {
		start, recovery = point[0], point[1]
	} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errMark) {
		return 0, 0, fmt.Errorf("read checkpoint: %w", err)
	}
	l.moved = moved
	for _, at := range moved {
		name := fileName("", at, startSuffix)
		point, merr := l.readMark(name, checkpointMagic, checkpointFields)
		switch start = max(start, at); {
		case merr == nil:
			err, recovery = nil, max(recovery, point[1])
		case !errors.Is(merr, errMark):
			return 0, 0, fmt.Errorf("read %s: %w", name, merr)
		case err != nil:
			err = merr
		}
	}
	return start, recovery, err
}

// writeCheckpoint makes the log start offset and the recovery point durable, and
// before them the leader epochs: a recovery reads no batch below the recovery
// point to find epochs. The caller holds meta.
func (l *Log) writeCheckpoint(start, recovery int64) error {
	recovery = max(recovery, l.recovery.Load())
	if err := l.writeEpochs(); err != nil {
		return err
	}
	name := filepath.Join(l.cfg.Dir, checkpointName)
	if err := replaceFile(l.cfg.FS, name, encodeMark(checkpointMagic, start, recovery)); err != nil {
		return err
	}
	if err := l.cfg.FS.SyncDir(l.cfg.Dir); err != nil {
		return err
	}
	l.recovery.Store(recovery)
	for _, at := range l.moved {
		err := l.cfg.FS.Remove(fileName(l.cfg.Dir, at, startSuffix))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.cfg.Logger.Warn("remove old checkpoint", "dir", l.cfg.Dir, "offset", at, "cause", err)
		}
	}
	l.moved = nil
	return nil
}

// renameCheckpoint makes start the log start offset, durably, on a disk that has
// no room for a checkpoint. The recovery point stays. The caller holds meta.
func (l *Log) renameCheckpoint(start int64) error {
	to := fileName(l.cfg.Dir, start, startSuffix)
	err := l.cfg.FS.Rename(filepath.Join(l.cfg.Dir, checkpointName), to)
	if n := len(l.moved); n > 0 && errors.Is(err, fs.ErrNotExist) {
		err = l.cfg.FS.Rename(fileName(l.cfg.Dir, l.moved[n-1], startSuffix), to)
	}
	if err != nil {
		return err
	}
	l.moved = append(l.moved, start)
	return l.cfg.FS.SyncDir(l.cfg.Dir)
}

// writeCleaned makes the cleaner's offsets durable: all below cleaned was compacted,
// and batches may be missing below sparse. The caller holds meta.
func (l *Log) writeCleaned(cleaned, sparse int64) error {
	if cleaned == l.cleaned.Load() && sparse == l.sparse.Load() {
		return nil
	}
	name := filepath.Join(l.cfg.Dir, cleanerName)
	if err := replaceFile(l.cfg.FS, name, encodeMark(cleanerMagic, cleaned, sparse)); err != nil {
		return err
	}
	if err := l.cfg.FS.SyncDir(l.cfg.Dir); err != nil {
		return err
	}
	l.cleaned.Store(cleaned)
	l.sparse.Store(sparse)
	return nil
}

// writeEpochs makes the leader epochs durable if they changed. The caller holds meta.
func (l *Log) writeEpochs() error {
	b, dirty := l.epochs.encodeDirty()
	if !dirty {
		return nil
	}
	err := replaceFile(l.cfg.FS, filepath.Join(l.cfg.Dir, epochsName), b)
	if err == nil {
		err = l.cfg.FS.SyncDir(l.cfg.Dir)
	}
	if err != nil {
		l.epochs.markDirty()
	}
	return err
}
