// SPDX-License-Identifier: Apache-2.0

package seglog

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"path/filepath"
)

// The small files of a log, big endian; each ends in the CRC-32C of what is before:
//
//	checkpoint  "MRCP" | version uint16 = 1 | log start offset int64 | recovery point int64 | CRC
//	.clean      "MRCL" | version uint16 = 1 | log end offset int64 | bytes of the last segment int64 | CRC
const (
	checkpointName = "checkpoint"
	cleanName      = ".clean"
	epochsName     = "leader-epoch-checkpoint"

	checkpointMagic = "MRCP"
	cleanMagic      = "MRCL"
	pairVersion     = 1
	pairSize        = 26
)

var errPair = errors.New("malformed file")

// encodePair writes either small file.
func encodePair(magic string, a, b int64) []byte {
	be := binary.BigEndian
	p := make([]byte, 0, pairSize)
	p = append(p, magic...)
	p = be.AppendUint16(p, pairVersion)
	p = be.AppendUint64(p, uint64(a))
	p = be.AppendUint64(p, uint64(b))
	return be.AppendUint32(p, crc32.Checksum(p, castagnoli))
}

func decodePair(magic string, p []byte) (a, b int64, err error) {
	be := binary.BigEndian
	if len(p) != pairSize || string(p[:4]) != magic || be.Uint16(p[4:]) != pairVersion ||
		be.Uint32(p[22:]) != crc32.Checksum(p[:22], castagnoli) {
		return 0, 0, errPair
	}
	a, b = int64(be.Uint64(p[6:])), int64(be.Uint64(p[14:]))
	if a < 0 || b < 0 {
		return 0, 0, errPair
	}
	return a, b, nil
}

// readPair reads a small file of the log's folder.
func (l *Log) readPair(name, magic string) (a, b int64, err error) {
	p, err := readFile(l.cfg.FS, filepath.Join(l.cfg.Dir, name), pairSize)
	if err != nil {
		return 0, 0, err
	}
	return decodePair(magic, p)
}

// writeCheckpoint makes the log start offset and the recovery point durable, and
// before them the leader epochs: a recovery reads no batch below the recovery
// point to find epochs. The caller holds meta.
func (l *Log) writeCheckpoint(start, recovery int64) error {
	recovery = max(recovery, l.recovery)
	if err := l.writeEpochs(); err != nil {
		return err
	}
	name := filepath.Join(l.cfg.Dir, checkpointName)
	if err := replaceFile(l.cfg.FS, name, encodePair(checkpointMagic, start, recovery)); err != nil {
		return err
	}
	if err := l.cfg.FS.SyncDir(l.cfg.Dir); err != nil {
		return err
	}
	l.recovery = recovery
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
