// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/millrace/millrace/internal/vfs"
)

// A dataDir is the folder of an application's state:
//
//	<app>.lock        held while a process works here
//	<app>.instance    the instance id, which makes a restart the same group member
//	<cluster id>/<app>/<task>/   the stores of a task
//
// The lock makes the instance id unique. Without a folder there is neither.
type dataDir struct {
	path     string // "" if nothing survives the process
	app      string
	lock     io.Closer
	instance string
}

func openDataDir(path, app string) (*dataDir, error) {
	d := &dataDir{path: path, app: app}
	if path == "" {
		return d, nil
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	var err error
	if d.lock, err = (vfs.OS{}).Lock(filepath.Join(path, app+".lock")); err != nil {
		return nil, inUse(path, err)
	}
	if d.instance, err = instanceID(filepath.Join(path, app+".instance"), app); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// instanceID reads the id, or makes one: whole or not at all.
func instanceID(file, app string) (string, error) {
	b, err := os.ReadFile(file)
	if id := strings.TrimSpace(string(b)); err == nil && validID(id) {
		return id, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the instance id: %w", err)
	}
	id := app + "-" + rand.Text()
	tmp := file + ".tmp"
	if err := os.WriteFile(tmp, []byte(id+"\n"), 0o644); err != nil {
		return "", fmt.Errorf("write the instance id: %w", err)
	}
	if err := os.Rename(tmp, file); err != nil {
		return "", fmt.Errorf("write the instance id: %w", err)
	}
	return id, nil
}

// validID holds the rule that brokers have for instance ids: that of topics.
func validID(id string) bool {
	return id != "" && len(id) <= 249 && plainName(id)
}

func plainName(s string) bool {
	for _, r := range s {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)
		if !ok {
			return false
		}
	}
	return s != "" && s != "." && s != ".."
}

// task is the folder of a task, relative to the data directory. The cluster's id
// comes over the network: what is no plain name is written in hex.
func (d *dataDir) task(cluster string, id TaskID) string {
	return filepath.Join(clusterFolder(cluster), d.app, id.String())
}

// global is the folder of a global store: no task's name ends so.
func (d *dataDir) global(cluster, topic string) string {
	return filepath.Join(clusterFolder(cluster), d.app, topic+"-global")
}

func clusterFolder(cluster string) string {
	switch {
	case cluster == "":
		return "no-cluster-id"
	case plainName(cluster) && len(cluster) <= 100:
		return cluster
	}
	return "hex-" + hex.EncodeToString([]byte(cluster[:min(len(cluster), 100)]))
}

// otherClusters lists the folders of other clusters that hold state of this
// application.
func (d *dataDir) otherClusters(cluster string) ([]string, error) {
	if d.path == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("list the data directory: %w", err)
	}
	var others []string
	for _, e := range entries {
		if !e.IsDir() || e.Name() == clusterFolder(cluster) {
			continue
		}
		dir := filepath.Join(d.path, e.Name(), d.app)
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			others = append(others, dir)
		}
	}
	return others, nil
}

// RemoveState deletes the folder of an application's stores of one cluster below path,
// the folder of its backend, and returns its name, "" if there is none. With dry set it
// only looks. ErrInUse: the application runs.
func RemoveState(path, app, cluster string, dry bool) (string, error) {
	if !plainName(app) {
		return "", fmt.Errorf("application %q has no name of a folder", app)
	}
	dir := filepath.Join(path, clusterFolder(cluster), app)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("look for state: %w", err)
	}
	lock, err := (vfs.OS{}).Lock(filepath.Join(path, app+".lock"))
	if err != nil {
		return "", inUse(path, err)
	}
	if !dry {
		err = os.RemoveAll(dir)
	}
	if err := errors.Join(err, lock.Close()); err != nil {
		return "", fmt.Errorf("delete state: %w", err)
	}
	return dir, nil
}

func (d *dataDir) close() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Close()
}
