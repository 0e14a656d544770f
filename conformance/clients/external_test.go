// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"testing"
)

// external runs a program of another language to its end and reads the
// outcomes on its standard output.
func external(ctx context.Context, t *testing.T, out *outcomes, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "KAFKAJS_NO_PARTITIONER_WARNING=1")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	out.read(stdout.Bytes())
	if err != nil {
		out.failed("program", err)
	}
	if err != nil || len(out.errors) > 0 || testing.Verbose() {
		t.Logf("standard error:\n%s", stderr.Bytes())
	}
}

// python runs a program of the folder python.
func python(file string) func(context.Context, *testing.T, string, *outcomes) {
	return func(ctx context.Context, t *testing.T, addr string, out *outcomes) {
		external(ctx, t, out, pythonWith(ctx, t), "python/"+file, addr)
	}
}
