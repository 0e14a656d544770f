// SPDX-License-Identifier: Apache-2.0

package group

import (
	"cmp"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeGroups describes the groups named, each with an error of its own.
// What operations the client may do is the caller's to fill in.
func (c *Coordinator) DescribeGroups(ctx context.Context, _ Client, req *kmsg.DescribeGroupsRequest) *kmsg.DescribeGroupsResponse {
	resp := kmsg.NewPtrDescribeGroupsResponse()
	resp.Version = req.Version
	calls := make([]*call, len(req.Groups))
	for i, id := range req.Groups {
		calls[i] = c.ask(ctx, c.partitionOf(id), func(t token) event {
			return describeEvent{token: t, version: req.Version, group: id}
		})
	}
	for i, id := range req.Groups {
		a := calls[i].wait(ctx, c.partitionOf(id))
		d, ok := a.body.(kmsg.DescribeGroupsResponseGroup)
		if !ok {
			d = kmsg.NewDescribeGroupsResponseGroup()
			d.Group, d.ErrorCode = id, a.code
		}
		resp.Groups = append(resp.Groups, d)
	}
	return resp
}

// ListGroups lists the groups of all partitions in order of id. It fails if
// one partition is still loading: a part of the list would pass for the whole.
func (c *Coordinator) ListGroups(ctx context.Context, _ Client, req *kmsg.ListGroupsRequest) *kmsg.ListGroupsResponse {
	resp := kmsg.NewPtrListGroupsResponse()
	resp.Version = req.Version
	calls := make([]*call, len(c.parts))
	for i, p := range c.parts {
		calls[i] = c.ask(ctx, p, func(t token) event {
			return listEvent{token: t, states: req.StatesFilter, types: req.TypesFilter}
		})
	}
	for i, p := range c.parts {
		a := calls[i].wait(ctx, p)
		if a.code != errNone {
			resp.ErrorCode = a.code
			continue
		}
		resp.Groups = append(resp.Groups, a.body.([]kmsg.ListGroupsResponseGroup)...)
	}
	if resp.ErrorCode != errNone {
		resp.Groups = nil
	}
	slices.SortFunc(resp.Groups, func(a, b kmsg.ListGroupsResponseGroup) int {
		return cmp.Compare(a.Group, b.Group)
	})
	return resp
}

// DeleteGroups deletes the groups named that have no members, with their
// offsets, and answers when that is in the log.
func (c *Coordinator) DeleteGroups(ctx context.Context, _ Client, req *kmsg.DeleteGroupsRequest) *kmsg.DeleteGroupsResponse {
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Version = req.Version
	groups := distinct(slices.Clone(req.Groups))
	calls := make([]*call, len(groups))
	for i, id := range groups {
		calls[i] = c.ask(ctx, c.partitionOf(id), func(t token) event {
			return deleteEvent{token: t, group: id}
		})
	}
	for i, id := range groups {
		a := calls[i].wait(ctx, c.partitionOf(id))
		g := kmsg.NewDeleteGroupsResponseGroup()
		g.Group, g.ErrorCode = id, a.code
		if code, ok := a.body.(int16); ok {
			g.ErrorCode = code
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp
}
