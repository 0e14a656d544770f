// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/millrace/millrace/internal/vfs"
)

// metadata is what the broker knows beside its logs. It lies in one file, which
// is replaced as a whole by each change:
//
//	millrace-metadata 1 <CRC-32C of the rest, hex> <bytes of the rest, decimal> \n
//	JSON of metadata
//
// The rename of the new file over the old is the moment at which a topic is
// created or deleted. Folders that no topic owns are left-overs of either and
// are removed at start.
type metadata struct {
	ClusterID      string          `json:"clusterId"`
	Incarnation    int32           `json:"incarnation"`    // starts of a broker on this directory
	NextProducerID int64           `json:"nextProducerId"` // ids below it may have been given out
	Topics         []topicMetadata `json:"topics"`

	// Configs that clients have set, of this broker and of all that there are.
	NodeConfigs    map[string]string `json:"nodeConfigs,omitempty"`
	ClusterConfigs map[string]string `json:"clusterConfigs,omitempty"`
	GroupConfigs   groupConfigs      `json:"groupConfigs,omitempty"`
}

// topicMetadata is one topic. Its leader epoch is Incarnation-Born.
type topicMetadata struct {
	Name       string            `json:"name"`
	ID         topicID           `json:"id"`
	Partitions int32             `json:"partitions"`
	Born       int32             `json:"born"` // the incarnation that created it
	Internal   bool              `json:"internal,omitempty"`
	Configs    map[string]string `json:"configs,omitempty"` // those that differ from the broker's
}

// topicID is random, never zero and never used twice.
type topicID [16]byte

// String is the id in hex, as in the name of the topic's folder.
func (id topicID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes the id in hex.
func (id topicID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads an id in hex.
func (id *topicID) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(id)) {
		return fmt.Errorf("topic id %q", b)
	}
	_, err := hex.Decode(id[:], b)
	return err
}

const (
	metadataName    = "metadata"
	metadataSpare   = "metadata.spare" // room on the disk for the next one, see keepSpare
	spareSize       = 64 << 10         // so much longer than twice the metadata a spare is
	leastSpare      = 4 << 10          // so much longer than the metadata it must be
	metadataMagic   = "millrace-metadata 1"
	maxTopicLength  = 249
	metadataMaxSize = 256 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode is the file's contents.
func (m *metadata) encode() ([]byte, error) {
	body, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode metadata: %w", err)
	}
	head := fmt.Sprintf("%s %08x %d\n", metadataMagic, crc32.Checksum(body, castagnoli), len(body))
	return append([]byte(head), body...), nil
}

// decodeMetadata reads a file's contents and believes none of it.
func decodeMetadata(b []byte) (*metadata, error) {
	head, body, ok := bytes.Cut(b, []byte("\n"))
	if !ok {
		return nil, errors.New("no header line")
	}
	var crc uint32
	var length int
	if n, err := fmt.Sscanf(string(head), metadataMagic+" %08x %d", &crc, &length); n != 2 || err != nil {
		return nil, errors.New("the header line is not one of this version")
	}
	if length != len(body) {
		return nil, fmt.Errorf("%d bytes, the header says %d", len(body), length)
	}
	if got := crc32.Checksum(body, castagnoli); got != crc {
		return nil, fmt.Errorf("CRC-32C is %08x, the header says %08x", got, crc)
	}
	m := new(metadata)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, err
	}
	return m, m.check()
}

func (m *metadata) check() error {
	if m.ClusterID == "" || m.Incarnation < 0 || m.Incarnation == math.MaxInt32 || m.NextProducerID < 0 {
		return fmt.Errorf("cluster id %q, incarnation %d, next producer id %d", m.ClusterID, m.Incarnation, m.NextProducerID)
	}
	names, ids := make(map[string]bool), make(map[topicID]bool)
	for _, t := range m.Topics {
		if err := checkTopicName(t.Name); err != nil {
			return err
		}
		if names[t.Name] || ids[t.ID] || t.ID == (topicID{}) {
			return fmt.Errorf("topic %q with id %s is there twice, or has no id", t.Name, t.ID)
		}
		if t.Partitions < 1 || t.Born < 0 || t.Born > m.Incarnation {
			return fmt.Errorf("topic %q has %d partitions, born %d", t.Name, t.Partitions, t.Born)
		}
		names[t.Name], ids[t.ID] = true, true
	}
	return nil
}

// loadMetadata reads the file of dir. It returns nil without an error if there
// is none.
func loadMetadata(fsys vfs.FS, dir string) (*metadata, error) {
	name := filepath.Join(dir, metadataName)
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open metadata: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("size of %s: %w", name, err)
	}
	if size > metadataMaxSize {
		return nil, fmt.Errorf("%s has %d bytes", name, size)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	m, err := decodeMetadata(b)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", name, err)
	}
	return m, nil
}

// errNotDurable says that the new metadata file is in place, but that a power
// cut may bring back the old one.
var errNotDurable = errors.New("metadata is not durable")

// save replaces the file of dir, on a full disk by the spare one. After
// errNotDurable the new file is there, after any other error the old one, whole.
func (m *metadata) save(fsys vfs.FS, dir string) error {
	b, err := m.encode()
	if err != nil {
		return err
	}
	name := filepath.Join(dir, metadataName)
	temp := name + ".tmp"
	if err = vfs.WriteFile(fsys, temp, b); vfs.IsFull(err) {
		temp = filepath.Join(dir, metadataSpare)
		if serr := overwrite(fsys, temp, b); serr != nil {
			err = fmt.Errorf("%w, and into the spare file: %w", err, serr)
		} else {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("save metadata: %w", err)
	}
	if err := fsys.Rename(temp, name); err != nil {
		return fmt.Errorf("save metadata: %w", err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("save metadata: %w: %w", errNotDurable, err)
	}
	return nil
}

// keepSpare sees to it that there is a file of zeros into which the next metadata
// can be written on a full disk: topics can be deleted and their retention be
// shortened there. size is that of the metadata now.
func keepSpare(fsys vfs.FS, dir string, size int) error {
	name := filepath.Join(dir, metadataSpare)
	if info, err := fsys.Stat(name); err == nil && info.Size() >= int64(size+leastSpare) {
		return nil
	}
	err := vfs.WriteFile(fsys, name, make([]byte, 2*size+spareSize))
	if vfs.IsFull(err) {
		err = vfs.WriteFile(fsys, name, make([]byte, size+leastSpare))
	}
	if err != nil {
		return fmt.Errorf("keep room for metadata: %w", err)
	}
	return nil
}

// overwrite puts b in the place of the bytes of a file that is longer.
func overwrite(fsys vfs.FS, name string, b []byte) (err error) {
	f, err := fsys.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return err
	}
	if size < int64(len(b)) {
		return fmt.Errorf("%s has %d bytes, %d are needed", name, size, len(b))
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(b))); err != nil {
		return err
	}
	return f.Sync()
}
