// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The fields of [Assignment].
const (
	assignmentFlags   = 1 // bit 0: FollowUp, 1: Warming, 2: Release, 3: View.Cut
	assignmentStandby = 2
	assignmentWarmup  = 3
	assignmentNames   = 4 // of the sub-topologies that hosts speak of
	assignmentHosts   = 5
	assignmentHeard   = 6
)

// viewBudget bounds the views that a whole group is sent: they are stored in one
// record, which Kafka's default for the size of messages limits to 1 MiB.
const viewBudget = 384 << 10

// Encode gives the user data of each member's assignment, in the order of Shares.
// Their views are cut down if the group is so large that its brokers might refuse
// them: first the lags are left out, then all but addresses, then these.
func (p *Plan) Encode() [][]byte {
	view := p.View
	common := appendView(nil, view)
	for cut := 1; len(common)*len(p.Shares) > viewBudget && cut <= 3; cut++ {
		view = p.View.cut(cut)
		common = appendView(nil, view)
	}
	out := make([][]byte, len(p.Shares))
	for i := range p.Shares {
		s := &p.Shares[i]
		out[i] = appendShare(nil, Assignment{
			FollowUp: p.FollowUp, Warming: p.Warming, Release: s.Release, Heard: s.Heard,
			Standby: s.Standby, Warmup: s.Warmup, View: view,
		})
		out[i] = append(out[i], common...)
	}
	return out
}

// cut leaves out the lags (1), all but the addresses (2), or everything (3).
func (v View) cut(depth int) View {
	less := View{Cut: true}
	if depth >= 3 {
		return less
	}
	for _, h := range v.Hosts {
		if depth >= 2 {
			h = Host{Address: h.Address}
		}
		var standby []Replica
		for _, r := range h.Standby {
			standby = append(standby, Replica{r.Task, -1})
		}
		h.Standby = standby
		less.Hosts = append(less.Hosts, h)
	}
	return less
}

func appendShare(dst []byte, a Assignment) []byte {
	dst = append(dst, formatVersion)
	var flags byte
	for i, on := range []bool{a.FollowUp, a.Warming, a.Release, a.View.Cut} {
		if on {
			flags |= 1 << i
		}
	}
	dst = appendField(dst, assignmentFlags, []byte{flags})
	if len(a.Standby) > 0 {
		dst = appendField(dst, assignmentStandby, appendTasks(nil, a.Standby, appendString))
	}
	if len(a.Warmup) > 0 {
		dst = appendField(dst, assignmentWarmup, appendTasks(nil, a.Warmup, appendString))
	}
	if a.Heard != 0 {
		dst = appendField(dst, assignmentHeard, binary.AppendUvarint(nil, a.Heard))
	}
	return dst
}

func appendView(dst []byte, v View) []byte {
	at := map[string]int{}
	var names []byte
	name := func(dst []byte, sub string) []byte {
		n, ok := at[sub]
		if !ok {
			n = len(at)
			at[sub] = n
			names = appendString(names, sub)
		}
		return binary.AppendUvarint(dst, uint64(n))
	}
	var hosts []byte
	for _, h := range v.Hosts {
		e := appendString(nil, h.Instance)
		e = appendString(e, h.Address)
		e = appendString(e, h.Rack)
		e = appendTasks(e, h.Active, name)
		tasks := make([]TaskID, len(h.Standby))
		for i, r := range h.Standby {
			tasks[i] = r.Task
		}
		e = appendTasks(e, tasks, name)
		e = appendLags(e, h.Standby)
		hosts = appendBytes(hosts, e)
	}
	if hosts == nil {
		return dst
	}
	dst = appendField(dst, assignmentNames, names)
	return appendField(dst, assignmentHosts, hosts)
}

// appendLags writes the lags plus one, 0 where one is not known; nothing at all
// where none is.
func appendLags(dst []byte, standby []Replica) []byte {
	known := false
	for _, r := range standby {
		known = known || r.Lag >= 0
	}
	if !known {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	for _, r := range standby {
		dst = binary.AppendUvarint(dst, uint64(max(r.Lag, -1)+1))
	}
	return dst
}

// DecodeAssignment reads the user data of an assignment, of this version or as far
// as it is known of a later one. None at all is an empty one. The error is
// [ErrFormat].
func DecodeAssignment(b []byte) (Assignment, error) {
	var a Assignment
	if len(b) == 0 {
		return a, nil
	}
	var names []string
	err := fields(b, func(tag uint64, r *reader) {
		switch tag {
		case assignmentFlags:
			flags := r.uvarint()
			a.FollowUp, a.Warming = flags&1 != 0, flags&2 != 0
			a.Release, a.View.Cut = flags&4 != 0, flags&8 != 0
		case assignmentStandby:
			a.Standby = r.tasks((*reader).string)
		case assignmentWarmup:
			a.Warmup = r.tasks((*reader).string)
		case assignmentHeard:
			a.Heard = r.uvarint()
		case assignmentNames:
			for len(r.b) > 0 {
				names = append(names, r.string())
			}
		case assignmentHosts:
			for len(r.b) > 0 {
				e := r.entry()
				a.View.Hosts = append(a.View.Hosts, e.host(names))
				r.end(e)
			}
		}
	})
	if err != nil {
		return Assignment{}, fmt.Errorf("read the user data of an assignment: %w", err)
	}
	return a, nil
}

func (r *reader) host(names []string) Host {
	name := func(r *reader) string {
		n := r.uvarint()
		if n >= uint64(len(names)) {
			r.fail()
			return ""
		}
		return names[n]
	}
	h := Host{Instance: r.string(), Address: r.string(), Rack: r.string()}
	h.Active = r.tasks(name)
	standby := r.tasks(name)
	known := r.uvarint() == 1
	for _, t := range standby {
		lag := int64(-1)
		if known {
			lag = int64(min(r.uvarint(), math.MaxInt64)) - 1
		}
		h.Standby = append(h.Standby, Replica{t, lag})
	}
	return h
}
