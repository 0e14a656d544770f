// SPDX-License-Identifier: Apache-2.0

package kafkanode

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// Version of Apache Kafka, as conformance/pom.xml has it.
const Version = "4.3.1"

// Classpath returns what Apache Kafka, Kafka Streams and their tools run from:
// the jars that conformance/pom.xml names, which Maven copies into the cache
// folder once a machine. The error says what to install where it can't be had.
// The working folder must be inside the module.
func Classpath() (string, error) {
	for _, p := range []struct{ program, hint string }{
		{"java", "install a JDK 17 or newer (apt-get install default-jre-headless)"},
		{"mvn", "install Maven (apt-get install maven)"},
		{"sh", "a Unix shell is needed"},
	} {
		if _, err := exec.LookPath(p.program); err != nil {
			return "", fmt.Errorf("%s is missing: %s", p.program, p.hint)
		}
	}
	dir, err := jars()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "*"), nil
}

// jars returns the folder of the jars; the work is done once a process.
var jars = sync.OnceValues(func() (string, error) {
	pom, err := findPom()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(pom)
	if err != nil {
		return "", fmt.Errorf("read the pom: %w", err)
	}
	// Named by the pom's hash: another pom makes another folder.
	return Cached(fmt.Sprintf("kafka-%s-%.4x", Version, sha256.Sum256(text)), func(dir string) error {
		fmt.Fprintf(os.Stderr, "fetching Apache Kafka %s (150 MB) with Maven, once\n", Version)
		cmd := exec.Command("mvn", "-B", "-q", "-Dstyle.color=never", "-f", pom, "dependency:copy-dependencies",
			"-DincludeScope=runtime", "-DoutputDirectory="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("fetch it with Maven: %w: %s", err, firstLine(out))
		}
		return nil
	})
})

// Cached returns the folder of that name in the cache folder. If it is not
// there, build fills a new one, which is kept complete or not at all; another
// process that wants it waits meanwhile.
func Cached(name string, build func(dir string) error) (string, error) {
	cache, err := CacheRoot()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	dir := filepath.Join(cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	unlock, err := Lock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil // another process made it while we waited
	}
	tmp, err := os.MkdirTemp(cache, name+"-new-")
	if err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	defer os.RemoveAll(tmp)
	made := filepath.Join(tmp, "made")
	if err := os.Mkdir(made, 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	if err := build(made); err != nil {
		return "", err
	}
	if err := os.Rename(made, dir); err != nil {
		return "", fmt.Errorf("keep %s in the cache folder: %w", name, err)
	}
	return dir, nil
}

// findPom looks upwards from the working folder for the module's root.
func findPom() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the pom: %w", err)
	}
	for {
		pom := filepath.Join(dir, "conformance", "pom.xml")
		if _, err := os.Stat(pom); err == nil {
			return pom, nil
		}
		if filepath.Dir(dir) == dir {
			return "", errors.New("no conformance/pom.xml above the working folder")
		}
		dir = filepath.Dir(dir)
	}
}

// CacheRoot is the cache folder, where tools/rocksdb keeps its files as well.
func CacheRoot() (string, error) {
	if dir := os.Getenv("MILLRACE_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "millrace"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("choose a cache folder: %w", err)
	}
	return filepath.Join(home, ".cache", "millrace"), nil
}
