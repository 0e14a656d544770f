// SPDX-License-Identifier: Apache-2.0

package topic

import "fmt"

// maxName is the longest name of a topic in bytes: with a dash and a partition
// number it is still the name of a directory.
const maxName = 249

// CheckName returns nil if Kafka would take name for a topic: 1 to 249 of the
// characters a-z, A-Z, 0-9, '.', '_' and '-', other than "." and ".."
// (org.apache.kafka.common.internals.Topic).
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("topic %q: the name is empty", name)
	case name == "." || name == "..":
		return fmt.Errorf("topic %q: the name is not allowed", name)
	case len(name) > maxName:
		return fmt.Errorf("topic %q: the name has %d characters, at most %d are allowed",
			name, len(name), maxName)
	}
	for _, r := range name {
		if !inName(r) {
			return fmt.Errorf("topic %q: the name has %q, allowed are a-z, A-Z, 0-9, '.', '_' and '-'", name, r)
		}
	}
	return nil
}

func inName(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' ||
		r == '.' || r == '_' || r == '-'
}
