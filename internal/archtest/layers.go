// SPDX-License-Identifier: Apache-2.0

package archtest

import "strings"

// A half is one of the two halves that meet on the wire only, or what stands
// below or above both.
type half int

const (
	seams    half = iota // below both: files, network, checks
	streams              // the framework
	bundled              // the broker
	programs             // above both
	support              // imported by tests alone
)

// A room is a package with all below it: its half, and within the streams half
// its level. A room imports rooms of its own level or a lower one.
type room struct {
	path  string // from the module's root; "" is the root package alone
	half  half
	level int
}

// rooms is LAYOUT's section 3 as a table, lowest first. A package that no row
// covers has no place: give it a row here, with the level of its neighbours.
var rooms = []room{
	{"internal/vfs", seams, 0},
	{"internal/vnet", seams, 0},
	{"internal/invariant", seams, 0},
	{"internal/mutant", seams, 0},
	{"internal/failpoint", seams, 0},
	{"internal/kafkanode", seams, 0},

	{"opt", streams, 0},
	{"serde", streams, 0},
	{"topic", streams, 0},
	{"window", streams, 0},
	{"agg", streams, 0},
	{"state", streams, 1},
	{"client", streams, 1},
	{"internal/plan", streams, 2},
	{"internal/runtime", streams, 3},
	{"processor", streams, 4},
	{"internal/flow", streams, 5},
	{"ktable", streams, 6},
	{"kstream", streams, 7},
	{"cep", streams, 8},
	{"query", streams, 9},
	{"console", streams, 9},

	{"broker", bundled, 0},

	{"", programs, 0},
	{"cmd", programs, 1},
	{"examples", programs, 1},
	{"benchmarks", programs, 1},

	{"internal/archtest", support, 0},
	{"internal/datadriven", support, 0},
	{"internal/kafkatest", support, 0},
	{"internal/simtest", support, 0},
	{"internal/runtime/link/linktest", support, 0},
	{"cmd/millrace/internal/cli/clitest", support, 0},
	{"state/internal/statetest", support, 0},
}

// cgoRooms are the only packages that may use cgo: a store, and what keeps the C
// library's memory small where there is cgo. cgoModules need it.
var (
	cgoRooms   = []string{"state/rocksdb", "state/internal/malloc"}
	cgoModules = []string{"C", "github.com/linxGnu/grocksdb"}
)

// refusedNames say nothing about what a package holds.
var refusedNames = []string{"base", "common", "helper", "helpers", "misc", "shared", "types", "util", "utils"}

// roomOf finds the row that covers a package, the longest one.
func roomOf(pkg string) (room, bool) {
	best, found := room{}, false
	for _, r := range rooms {
		covers := r.path == pkg || r.path != "" && strings.HasPrefix(pkg, r.path+"/")
		if covers && (!found || len(r.path) > len(best.path)) {
			best, found = r, true
		}
	}
	return best, found
}

// objection says why from may not import to outside of tests, or "".
func objection(from, to room) string {
	switch {
	case to.half == support && from.half != support:
		return "only tests may import it"
	case from.half == support || to.half == seams:
		return ""
	case from.half == seams:
		return "a seam knows neither half"
	case from.half == programs && to.half != programs:
		return ""
	case to.half == programs && from.half != programs:
		return "nothing imports programs"
	case from.half != to.half:
		return "streams and broker meet on the wire only"
	case to.level > from.level:
		return "imports go downwards only"
	}
	return ""
}
