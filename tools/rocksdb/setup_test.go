// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// machine is a fake of all programs that a set-up runs: it answers as they do
// and notes what was asked.
type machine struct {
	jar   []byte   // what Maven delivers; nil: it fails
	mod   string   // folder of grocksdb
	ran   []string // programs, in order
	lists bool     // apt-get knows its packages
	maven bool     // Maven is installed
}

func (m *machine) run(_ context.Context, _, _, name string, args ...string) ([]byte, error) {
	line := name + " " + strings.Join(args, " ")
	m.ran = append(m.ran, filepath.Base(name))
	switch {
	case name == "mvn" && m.jar == nil:
		return []byte("[ERROR] no such host\n[ERROR] more\n"), errors.New("mvn: exit status 1")
	case name == "mvn":
		dir, _ := strings.CutPrefix(args[len(args)-1], "-DoutputDirectory=")
		return nil, os.WriteFile(filepath.Join(dir, "rocksdbjni.jar"), m.jar, 0o644)
	case strings.Contains(line, "apt-get install") && !m.lists:
		return []byte("Reading package lists...\nE: Unable to locate package maven\n"), errors.New("apt-get: exit status 100")
	case strings.Contains(line, "apt-get install"):
		m.maven = true
	case strings.Contains(line, "apt-get update"):
		m.lists = true
	case strings.Contains(line, "-print-file-name"):
		return []byte("libstdc++.so\n"), nil // as gcc answers without g++
	case name == "go":
		return []byte(`{"Dir": "` + m.mod + `"}`), nil
	}
	return nil, nil
}

func (m *machine) look(program string) bool { return program != "mvn" || m.maven }

// fixture makes a machine that has Maven, and a setup on it.
func fixture(t *testing.T) (*machine, *setup, *[]string) {
	t.Helper()
	jar := filepath.Join(t.TempDir(), "x.jar")
	f, err := os.Create(jar)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	w, err := z.Create("librocksdbjni-linux64.so")
	if err == nil {
		_, err = w.Write([]byte("the library"))
	}
	if err := errors.Join(err, z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	m := &machine{mod: t.TempDir(), maven: true}
	if m.jar, err = os.ReadFile(jar); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.mod, "c.h"), []byte("the header"), 0o644); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(m.jar)
	p := released
	p.sha256 = hex.EncodeToString(sum[:])
	var said []string
	return m, &setup{
		root: t.TempDir(), cache: filepath.Join(t.TempDir(), "cache"), pins: p,
		host: host{os: "linux", arch: "amd64", cc: "gcc"},
		run:  m.run, look: m.look,
		say: func(line string) { said = append(said, line) },
	}, &said
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// onlyIn checks the names in a cache folder: nothing half-made stays.
func onlyIn(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("cache folder holds %q, want %q", got, want)
	}
}

func TestSecondRunStartsNoProgram(t *testing.T) {
	m, s, said := fixture(t)
	first, err := s.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, first.lib, "librocksdb.so"); got != "the library" {
		t.Errorf("library holds %q", got)
	}
	if got := read(t, first.include, "rocksdb", "c.h"); got != "the header" {
		t.Errorf("header holds %q", got)
	}
	if got := read(t, first.lib, "libstdc++.so"); !strings.Contains(got, "libstdc++.so.6") {
		t.Errorf("linker script holds %q", got)
	}
	onlyIn(t, s.cache, "rocksdb-10.1.3-linux-amd64")
	if len(*said) != 1 {
		t.Errorf("said %q, want one line", *said)
	}
	m.ran = nil
	second, err := s.get(t.Context())
	if err != nil || second != first {
		t.Errorf("second get = %v, %v, want %v", second, err, first)
	}
	if len(m.ran) != 0 || len(*said) != 1 {
		t.Errorf("second get ran %q and said %q, want nothing", m.ran, (*said)[1:])
	}
}

func TestOtherPinsMakeTheFolderAnew(t *testing.T) {
	m, s, _ := fixture(t)
	if _, err := s.get(t.Context()); err != nil {
		t.Fatal(err)
	}
	gomod := "require github.com/linxGnu/grocksdb v1.10.1 // indirect\n"
	if err := os.WriteFile(filepath.Join(s.root, "go.mod"), []byte(gomod), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.mod, "c.h"), []byte("newer"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := s.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, f.include, "rocksdb", "c.h"); got != "newer" {
		t.Errorf("header holds %q after go.mod changed, want the newer one", got)
	}
	onlyIn(t, s.cache, "rocksdb-10.1.3-linux-amd64")
}

func TestWhatCannotBeHadSaysWhy(t *testing.T) {
	for _, test := range []struct {
		name  string
		alter func(m *machine, s *setup)
		want  string
	}{
		{"no compiler", func(_ *machine, s *setup) { s.host.cc = "" }, "no C compiler"},
		{"no build for the machine", func(_ *machine, s *setup) { s.host.arch = "loong64" }, "no release build for linux-loong64"},
		{"no Maven, not root", func(m *machine, s *setup) { m.maven, s.host.debian = false, true }, "apt-get install maven"},
		{"no network", func(m *machine, _ *setup) { m.jar = nil }, "[ERROR] no such host"},
		{"another jar", func(m *machine, _ *setup) { m.jar = append(m.jar, 0) }, "SHA-256"},
		{"no such member", func(_ *machine, s *setup) { s.host.musl = true }, "librocksdbjni-linux64-musl.so"},
		{"no header", func(m *machine, _ *setup) { m.mod = m.mod + "/none" }, "copy the header"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, s, _ := fixture(t)
			test.alter(m, s)
			_, err := s.get(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("get error is %v, want one with %q", err, test.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error has more than one line: %q", err)
			}
			if _, err := os.Stat(s.cache); err == nil {
				onlyIn(t, s.cache)
			}
		})
	}
}

func TestRootOnDebianInstallsMaven(t *testing.T) {
	m, s, said := fixture(t)
	m.maven, s.host.debian, s.host.root = false, true, true
	if _, err := s.get(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"env", "apt-get", "env", "mvn"}; !slices.Equal(m.ran[:4], want) {
		t.Errorf("ran %q, want %q first: install, update, install, fetch", m.ran, want)
	}
	if len(*said) != 2 || !strings.Contains((*said)[0], "apt-get install -y maven") {
		t.Errorf("said %q, want the installation and the fetch", *said)
	}
}

func TestSystemLibraryOfTheRightVersion(t *testing.T) {
	for _, test := range []struct {
		name, header, file string
		want               bool
	}{
		{"10.1", "#define ROCKSDB_MAJOR 10\n#define ROCKSDB_MINOR 1\n", "librocksdb.so.10.1.3", true},
		{"another header", "#define ROCKSDB_MAJOR 7\n#define ROCKSDB_MINOR 1\n", "librocksdb.so.10.1.3", false},
		{"another library", "#define ROCKSDB_MAJOR 10\n#define ROCKSDB_MINOR 1\n", "librocksdb.so.10.10.1", false},
		{"no library", "#define ROCKSDB_MAJOR 10\n#define ROCKSDB_MINOR 1\n", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, s, _ := fixture(t)
			prefix := t.TempDir()
			s.prefixes = []string{filepath.Join(prefix, "none"), prefix}
			include, lib := filepath.Join(prefix, "include"), filepath.Join(prefix, "lib")
			err := errors.Join(
				os.MkdirAll(filepath.Join(include, "rocksdb"), 0o755), os.Mkdir(lib, 0o755),
				os.WriteFile(filepath.Join(include, "rocksdb", "version.h"), []byte(test.header), 0o644),
				os.WriteFile(filepath.Join(include, "rocksdb", "c.h"), nil, 0o644),
			)
			if test.file != "" {
				err = errors.Join(err, os.WriteFile(filepath.Join(lib, test.file), nil, 0o644),
					os.Symlink(test.file, filepath.Join(lib, "librocksdb.so")))
			}
			if err != nil {
				t.Fatal(err)
			}
			f, err := s.get(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := f.include == include && f.lib == lib && len(m.ran) == 0; got != test.want {
				t.Errorf("took the system's library: %v, want %v (%+v, ran %q)", got, test.want, f, m.ran)
			}
		})
	}
}

func TestDarwinLibraryIsNamedAndSigned(t *testing.T) {
	m, s, _ := fixture(t)
	s.host.os = "darwin"
	if err := s.adapt(t.Context(), "lib/librocksdb.dylib"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"install_name_tool", "codesign"}; !slices.Equal(m.ran, want) {
		t.Errorf("ran %q, want %q", m.ran, want)
	}
}

func TestShellLines(t *testing.T) {
	f := flags{include: "/c/a b/include", lib: "/c/lib", ok: true}
	env := map[string]string{}
	getenv := func(k string) string { return env[k] }
	first := f.shell(getenv)
	for _, want := range []string{
		`export CGO_CFLAGS='"-I/c/a b/include" -O2 -g'` + "\n",
		"export CGO_LDFLAGS='-L/c/lib -Wl,-rpath,/c/lib'\n",
		"export TAGS='rocksdb,grocksdb_clean_link'\n",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("lines are %q, want %q in them", first, want)
		}
	}
	env["CGO_CFLAGS"], env["CGO_LDFLAGS"] = `"-I/c/a b/include" -O2 -g`, "-L/c/lib -Wl,-rpath,/c/lib"
	if again := f.shell(getenv); again != first {
		t.Errorf("within an environment of its own the lines are %q, want %q", again, first)
	}
	if got := (flags{}).shell(getenv); got != "export TAGS=''\n" {
		t.Errorf("without RocksDB the lines are %q", got)
	}
}

func TestCause(t *testing.T) {
	failed := errors.New("exit status 1")
	for out, want := range map[string]string{
		"": "exit status 1",
		"go: downloading go1.27.4 (linux/amd64)\ngo: download go1.27.4: no such host\n": "exit status 1: go: download go1.27.4: no such host",
		"/usr/bin/ld: cannot find -lstdc++\ncollect2: error: ld returned 1\n":           "exit status 1: /usr/bin/ld: cannot find -lstdc++",
		"[ERROR] no such artifact\n[ERROR] see the log\n":                               "exit status 1: [ERROR] no such artifact",
	} {
		if got := cause([]byte(out), failed).Error(); got != want {
			t.Errorf("cause(%q) = %q, want %q", out, got, want)
		}
	}
}
