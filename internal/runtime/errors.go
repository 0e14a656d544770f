// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/millrace/millrace/internal/plan"
	"github.com/millrace/millrace/internal/vfs"
)

// ErrInUse says that another process works in the same data directory.
var ErrInUse = errors.New("the data directory is in use by another process")

// A RecordError says at which record, and in which step, the processing failed.
type RecordError struct {
	Task      TaskID
	Topic     string // "" where no record was in hand: at a commit or a punctuation
	Partition int32
	Offset    int64      // -1 where no record was in hand
	Node      string     // the step that failed: what it does, its name, file:line
	Stage     plan.Stage // what was being done with the record
	Err       error      // what the step answered, or a *PanicError
}

func (e *RecordError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("task %s: %s: %v", e.Task, e.Node, e.Err)
	}
	return fmt.Sprintf("task %s: record at offset %d of %s-%d: %s: %v", e.Task, e.Offset, e.Topic, e.Partition, e.Node, e.Err)
}

// Unwrap gives the cause.
func (e *RecordError) Unwrap() error { return e.Err }

// A PanicError is a panic of user code.
type PanicError struct {
	Value any
	Site  string // file:line of the innermost call outside of this module and Go's runtime
	Stack []byte
}

func (e *PanicError) Error() string {
	if e.Site == "" {
		return fmt.Sprintf("panic: %v", e.Value)
	}
	return fmt.Sprintf("panic at %s: %v", e.Site, e.Value)
}

// Unwrap gives the value of the panic, if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// newPanic describes a panic; it is called by the deferred function that recovered it.
func newPanic(v any) *PanicError {
	e := &PanicError{Value: v, Stack: debug.Stack()}
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		if f.File == "" || strings.HasPrefix(f.Function, "runtime.") {
			continue
		}
		if e.Site == "" {
			e.Site = fmt.Sprintf("%s:%d", f.File, f.Line) // at least where it began
		}
		if ours(f) {
			continue
		}
		e.Site = fmt.Sprintf("%s:%d", f.File, f.Line)
		break
	}
	return e
}

const module = "github.com/millrace/millrace/"

// ours tells the library's own frames from those of programs, tests among them.
func ours(f runtime.Frame) bool {
	rest, ok := strings.CutPrefix(f.Function, module)
	if !ok || strings.HasSuffix(f.File, "_test.go") {
		return false
	}
	for _, programs := range []string{"examples/", "benchmarks/", "cmd/"} {
		if strings.HasPrefix(rest, programs) {
			return false
		}
	}
	return true
}

func inUse(dir string, err error) error {
	if errors.Is(err, vfs.ErrLocked) {
		return fmt.Errorf("%s: %w", dir, ErrInUse)
	}
	return err
}
