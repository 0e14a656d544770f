// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/millrace/millrace/broker"
)

// configure fills cfg: from the file first, then from the flags that were given,
// then from what is set by --set, so that the more particular wins.
func (flags *brokerFlags) configure(cfg *broker.Config, f *pflag.FlagSet) error {
	given := make(map[string]string)
	f.Visit(func(fl *pflag.Flag) { given[fl.Name] = fl.Value.String() })
	delete(given, "set")
	if flags.config != "" {
		if err := readProperties(cfg, flags.config); err != nil {
			return fmt.Errorf("--config: %w", err)
		}
		for name, value := range given {
			if err := f.Set(name, value); err != nil {
				return err
			}
		}
	}
	for _, s := range flags.set {
		name, value, ok := cutProperty(s)
		if !ok {
			return fmt.Errorf("--set %q: want name=value", s)
		}
		if err := cfg.Set(name, value); err != nil {
			return fmt.Errorf("--set: %w", err)
		}
	}
	return nil
}

// readProperties sets what a file in the shape of Kafka's server.properties says,
// and reports all lines that make no sense.
func readProperties(cfg *broker.Config, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var errs []error
	n, whole := 0, ""
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if whole == "" && (line == "" || line[0] == '#' || line[0] == '!') {
			continue
		}
		part, goesOn := strings.CutSuffix(line, `\`)
		if whole += part; goesOn {
			continue
		}
		name, value, ok := cutProperty(whole)
		whole = ""
		err := errors.New("want name=value")
		if ok {
			err = cfg.Set(name, value)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", file, n, err))
		}
	}
	return errors.Join(errs...)
}

// cutProperty splits "name=value".
func cutProperty(s string) (name, value string, ok bool) {
	i := strings.IndexAny(s, "=:")
	if i <= 0 {
		return "", "", false
	}
	return strings.TrimSpace(s[:i]), strings.TrimSpace(s[i+1:]), true
}
