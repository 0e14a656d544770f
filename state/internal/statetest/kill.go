// SPDX-License-Identifier: Apache-2.0

package statetest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/state"
)

// killDir tells a test program to be the child that is to be killed.
const killDir = "MILLRACE_KILL_DIR"

// Main is a TestMain that knows how to be the child of Kill.
func Main(m *testing.M, r Rig) {
	if dir := os.Getenv(killDir); dir != "" {
		fmt.Println("error:", child(r, dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Kill runs a process that writes to two stores and flushes them at different
// times, kills it with -9 at some moment, and looks at what is left; then the next
// one goes on from there.
func Kill(t *testing.T, r Rig) {
	rnd := seeded(t)
	dir := t.TempDir()
	for range 4 {
		flushed := runAndKill(t, dir, 20+rnd.IntN(400))
		k := r.open(t, dir)
		for _, name := range []string{"one", "two"} {
			b := k.base(t, name)
			h, _, err := b.Header()
			if err != nil || h.Position < flushed[name] {
				t.Errorf("%s came back at %d, %v; it was flushed at %d", name, h.Position, err, flushed[name])
			}
			if diff := cmp.Diff(written(h.Position), contents(t, b)); diff != "" {
				t.Errorf("%s at %d (-want +got):\n%s", name, h.Position, diff)
			}
		}
		k.close(t)
	}
}

// runAndKill lets the child write about n lines, and gives the positions that it
// said to be flushed.
func runAndKill(t *testing.T, dir string, n int) map[string]int64 {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	flushed := map[string]int64{}
	lines := bufio.NewScanner(out)
	for i := 0; lines.Scan(); i++ {
		var name string
		var position int64
		if _, err := fmt.Sscanf(lines.Text(), "flushed %s %d", &name, &position); err == nil {
			flushed[name] = position
		} else if len(lines.Text()) > 0 && lines.Text()[0] == 'e' {
			t.Errorf("child: %s", lines.Text())
		}
		if i == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	return flushed
}

const (
	spread = 50
	pad    = 2000 // so that now and then a write buffer is full
)

// written is what a store holds at a position: each write puts one of a few keys.
func written(position int64) map[string]string {
	m := map[string]string{}
	for p := max(1, position-spread+1); p <= position; p++ {
		m[fmt.Sprint(p%spread)] = value(p)
	}
	return m
}

func value(position int64) string { return fmt.Sprintf("%0*d", pad, position) }

// child writes until it is killed, or fails.
func child(r Rig, dir string) error {
	db, err := r.At(dir).Open(path)
	if err != nil {
		return err
	}
	for turn := 0; ; turn++ {
		for _, name := range []string{"one", "two"} {
			b, err := db.Base(name)
			if err != nil {
				return err
			}
			h, _, err := b.Header()
			if err != nil {
				return err
			}
			p := h.Position + 1
			var w state.Writes
			w.Put([]byte(fmt.Sprint(p%spread)), []byte(value(p)))
			if err := b.Apply(&w, header(p)); err != nil {
				return err
			}
			fmt.Println("applied", name, p)
			if (name == "one" && turn%17 == 3) || (name == "two" && turn%29 == 11) {
				if err := b.Flush(); err != nil {
					return err
				}
				fmt.Println("flushed", name, p)
			}
		}
	}
}
