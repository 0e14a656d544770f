// SPDX-License-Identifier: Apache-2.0

package kafkatest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// version of Apache Kafka, as conformance/pom.xml has it.
const version = "4.3.1"

// classpath returns what Apache Kafka and its tools run from; it skips the test
// where they can't be had, and fails it under CI=true. The jars are copied by
// Maven into the cache folder once a machine.
func classpath(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("Apache Kafka: not with -short")
	}
	for program, hint := range map[string]string{
		"java": "install a JDK 17 or newer (apt-get install default-jre-headless)",
		"mvn":  "install Maven (apt-get install maven)",
		"sh":   "a Unix shell is needed",
	} {
		if _, err := exec.LookPath(program); err != nil {
			unavailable(t, "Apache Kafka: "+program+" is missing: "+hint)
		}
	}
	dir, err := jars()
	if err != nil {
		unavailable(t, "Apache Kafka: "+err.Error())
	}
	return filepath.Join(dir, "*")
}

func unavailable(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
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
	cache, err := cacheRoot()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	// Named by the pom's hash: another pom makes another folder.
	dir := filepath.Join(cache, fmt.Sprintf("kafka-%s-%.4x", version, sha256.Sum256(text)))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil // another process made it while we waited
	}
	return dir, copyJars(pom, cache, dir)
})

// copyJars makes dir, complete or not at all.
func copyJars(pom, cache, dir string) error {
	tmp, err := os.MkdirTemp(cache, "kafka-new-")
	if err != nil {
		return fmt.Errorf("make the cache folder: %w", err)
	}
	defer os.RemoveAll(tmp)
	fmt.Fprintf(os.Stderr, "kafkatest: fetching Apache Kafka %s (150 MB) with Maven, once, into %s\n", version, cache)
	cmd := exec.Command("mvn", "-B", "-q", "-Dstyle.color=never", "-f", pom, "dependency:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+filepath.Join(tmp, "lib"))
	if out, err := cmd.CombinedOutput(); err != nil {
		first, _, _ := strings.Cut(string(out), "\n")
		return fmt.Errorf("fetch it with Maven: %w: %s", err, first)
	}
	if err := os.Rename(filepath.Join(tmp, "lib"), dir); err != nil {
		return fmt.Errorf("keep the jars: %w", err)
	}
	return nil
}

// findPom looks upwards from the test's folder for the module's root.
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
			return "", errors.New("no conformance/pom.xml above the test's folder")
		}
		dir = filepath.Dir(dir)
	}
}

// cacheRoot is where tools/rocksdb keeps its files as well.
func cacheRoot() (string, error) {
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
