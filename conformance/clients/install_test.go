// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/kafkanode"
)

// installTime bounds one installation, which takes some 10 s: a registry that
// does not answer must not hold up the rest.
const installTime = 3 * time.Minute

var (
	installing sync.Mutex
	installed  = make(map[string]error) // by folder: tried once a process
)

// folder returns one of the cache folder that install has filled, complete or
// not at all; it is named by what the files that pin its versions hold.
func folder(ctx context.Context, name string, pins []string, install func(ctx context.Context, dir string) error) (string, error) {
	installing.Lock()
	defer installing.Unlock()
	sum := sha256.New()
	for _, pin := range pins {
		text, err := os.ReadFile(pin)
		if err != nil {
			return "", fmt.Errorf("read what to install: %w", err)
		}
		sum.Write(text)
	}
	cache, err := kafkanode.CacheRoot()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	dir := filepath.Join(cache, fmt.Sprintf("clients-%s-%.4x", name, sum.Sum(nil)))
	unlock, err := kafkanode.Lock(dir + ".lock") // against other processes
	if err != nil {
		return "", err
	}
	defer unlock()
	stamp := filepath.Join(dir, "complete") // a virtual environment can't be renamed
	if _, err := os.Stat(stamp); err == nil {
		return dir, nil
	}
	ctx, cancel := context.WithTimeout(ctx, installTime)
	defer cancel()
	if err, tried := installed[dir]; tried {
		return dir, err
	}
	err = errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755))
	if err == nil {
		err = install(ctx, dir)
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("no end after %v: %w", installTime, err)
	}
	if err == nil {
		err = os.WriteFile(stamp, nil, 0o644)
	}
	installed[dir] = err
	return dir, err
}

// command runs one of an installation.
func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%s %s: %w: %s", name, args[0], err, lines[len(lines)-1])
	}
	return nil
}

// pythonWith returns an interpreter that has the clients of requirements.txt.
func pythonWith(ctx context.Context, t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is missing: install it (apt-get install python3-venv)")
	}
	pins, err := filepath.Abs("python/requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := folder(ctx, "python", []string{pins}, func(ctx context.Context, dir string) error {
		if err := command(ctx, dir, "python3", "-m", "venv", dir); err != nil {
			return err
		}
		return command(ctx, dir, filepath.Join(dir, "bin", "pip"), "install", "--quiet", "--only-binary=:all:", "-r", pins)
	})
	if err != nil {
		t.Skipf("the clients in Python can't be installed (python3 -m venv; pip install -r conformance/clients/python/requirements.txt): %v", err)
	}
	return filepath.Join(dir, "bin", "python")
}

// nodeWith returns a folder with the clients of package-lock.json in its
// node_modules.
func nodeWith(ctx context.Context, t *testing.T) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is missing: install it (apt-get install nodejs npm)")
		}
	}
	pins := []string{"node/package.json", "node/package-lock.json"}
	dir, err := folder(ctx, "node", pins, func(ctx context.Context, dir string) error {
		for _, pin := range pins {
			text, err := os.ReadFile(pin)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(pin)), text, 0o644); err != nil {
				return err
			}
		}
		return command(ctx, dir, "npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund")
	})
	if err != nil {
		t.Skipf("the clients in JavaScript can't be installed (npm ci in conformance/clients/node): %v", err)
	}
	return dir
}
