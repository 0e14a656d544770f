// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
)

// ErrUnreachable says that no broker answered.
var ErrUnreachable = errors.New("no broker answers")

// A UsageError is a mistake in the command line.
type UsageError struct{ msg string }

func (e *UsageError) Error() string { return e.msg }

// Usagef makes a UsageError.
func Usagef(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// Exit codes.
const (
	ExitFailed      = 1   // the cluster said no, to all or to part of what was asked
	ExitUsage       = 2   // the command line makes no sense
	ExitUnreachable = 3   // no broker answered in time
	ExitInterrupted = 130 // SIGINT or SIGTERM, before it was done
)

// ExitCode is what a process ends with after err.
func ExitCode(err error) int {
	_, usage := errors.AsType[*UsageError](err)
	switch {
	case err == nil:
		return 0
	case usage:
		return ExitUsage
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	case errors.Is(err, ErrUnreachable):
		return ExitUnreachable
	default:
		return ExitFailed
	}
}

// Args makes what a cobra check says a UsageError.
func Args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return Usagef("%v: see %s --help", err, cmd.CommandPath())
		}
		return nil
	}
}

// Explain is an error of the cluster with the text that came along with it.
func Explain(err error, text string) error {
	if err == nil || text == "" {
		return err
	}
	return fmt.Errorf("%w (%s)", err, Clean(text))
}

// Failures collects the errors of a command that goes on after one.
type Failures struct{ all []error }

// Add notes err, if there is one, of a thing.
func (f *Failures) Add(thing string, err error) {
	if err != nil {
		f.all = append(f.all, fmt.Errorf("%s: %w", thing, err))
	}
}

// Err is all of them in the order of their texts, a line each, or nil.
func (f *Failures) Err() error {
	slices.SortFunc(f.all, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errors.Join(f.all...)
}
