// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// external runs a program of another language to its end and reads the
// outcomes on its standard output.
func external(ctx context.Context, t *testing.T, out *outcomes, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "KAFKAJS_NO_PARTITIONER_WARNING=1")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	begin := time.Now()
	err := cmd.Run()
	out.read(stdout.Bytes())
	if err != nil {
		out.failed("program", err)
	}
	t.Logf("it took %v", time.Since(begin).Round(100*time.Millisecond))
	if err != nil || len(out.errors) > 0 {
		t.Logf("standard error:\n%s", stderr.Bytes())
	}
}

// python runs a program of the folder python.
func python(file string) func(context.Context, *testing.T, string, *outcomes) {
	return func(ctx context.Context, t *testing.T, addr string, out *outcomes) {
		external(ctx, t, out, pythonWith(ctx, t), "python/"+file, addr)
	}
}

// kafkaJS runs the program of the folder node.
func kafkaJS(ctx context.Context, t *testing.T, addr string, out *outcomes) {
	dir := nodeWith(ctx, t)
	external(ctx, t, out, "env", "NODE_PATH="+filepath.Join(dir, "node_modules"), "node", "node/program.js", addr)
}
