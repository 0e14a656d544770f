// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/millrace/millrace/broker"
)

const properties = `# a comment
! another
num.partitions = 5
log.retention.\
hours: 2

max.connections=50
node.id=9
group.consumer.session.timeout.ms=46000
`

func TestConfigFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.properties")
	if err := os.WriteFile(file, []byte(properties), 0o600); err != nil {
		t.Fatal(err)
	}
	var cfg broker.Config
	var flags brokerFlags
	f := pflag.NewFlagSet("broker", pflag.ContinueOnError)
	flags.register(f, &cfg)
	if err := f.Parse([]string{"--config", file, "--partitions", "6", "--set", "max.connections=60", "--set", "connections.max.idle.ms=1000"}); err != nil {
		t.Fatal(err)
	}
	if err := flags.configure(&cfg, f); err != nil {
		t.Fatal(err)
	}
	if cfg.NumPartitions != 6 || cfg.NodeID != 9 || cfg.MaxConnections != 60 || cfg.IdleTimeout != time.Second || cfg.ConsumerSessionTimeout != 46*time.Second {
		t.Errorf("partitions %d, want 6 of the flag; node %d, want 9 of the file; connections %d, want 60 of --set; idle %v; session %v",
			cfg.NumPartitions, cfg.NodeID, cfg.MaxConnections, cfg.IdleTimeout, cfg.ConsumerSessionTimeout)
	}
	if err := os.WriteFile(file, []byte(properties+"process.roles=broker\nnonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := flags.configure(&cfg, f)
	if err == nil || !strings.Contains(err.Error(), ":10: unknown broker config: process.roles") || !strings.Contains(err.Error(), ":11: want name=value") {
		t.Errorf("a file with two mistakes: %v", err)
	}
}
