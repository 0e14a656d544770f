// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"fmt"
	"io"

	"github.com/millrace/millrace/processor"
)

// describeFlag is a flag with a value that may be left out: --describe, --describe=dot.
type describeFlag string

// String implements flag.Value.
func (f *describeFlag) String() string { return string(*f) }

// IsBoolFlag says that the flag needs no value.
func (f *describeFlag) IsBoolFlag() bool { return true }

// Set implements flag.Value.
func (f *describeFlag) Set(format string) error {
	switch format {
	case "true": // no value
		format = "text"
	case "false":
		format = ""
	default:
		if _, err := (&processor.Description{}).Format(format); err != nil {
			return err
		}
	}
	*f = describeFlag(format)
	return nil
}

// describe writes a topology in a format.
func describe(w io.Writer, t *processor.Topology, format string) error {
	d, err := t.Describe()
	if err != nil {
		return err
	}
	text, err := d.Format(format)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(w, text)
	return err
}
