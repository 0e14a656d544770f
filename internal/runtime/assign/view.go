// SPDX-License-Identifier: Apache-2.0

package assign

// A View is what every member is told of all: where each task runs, where copies of
// its state are and how far they were behind when the round began. Interactive
// queries find their way by it.
type View struct {
	Hosts []Host
	// Cut says that the group is so large that the lags, or all but the addresses of
	// Hosts, were left out.
	Cut bool
}

// A Host is a member in a View.
type Host struct {
	Instance string
	Address  string
	Rack     string
	Active   []TaskID
	Standby  []Replica
}

// A Replica is a copy of a task's state that is kept up to date.
type Replica struct {
	Task TaskID
	Lag  int64 // records behind, -1 if not known
}

// An Assignment is what the leader tells a member beside its partitions: the user
// data of its assignment.
type Assignment struct {
	FollowUp bool // see Plan
	Warming  bool
	Release  bool // see Share
	Heard    uint64
	Standby  []TaskID
	Warmup   []TaskID
	View     View
}
