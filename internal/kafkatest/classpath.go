// SPDX-License-Identifier: Apache-2.0

package kafkatest

import (
	"os"
	"testing"

	"github.com/millrace/millrace/internal/kafkanode"
)

// classpath returns what Apache Kafka and its tools run from; it skips the test
// where they can't be had, and fails it under CI=true.
func classpath(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("Apache Kafka: not with -short")
	}
	cp, err := kafkanode.Classpath()
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("Apache Kafka: %v", err)
	}
	if err != nil {
		t.Skipf("Apache Kafka: %v", err)
	}
	return cp
}
