// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/broker/internal/group"
	"github.com/millrace/millrace/broker/internal/metrics"
	"github.com/millrace/millrace/broker/internal/wire"
)

// errUnsupported closes a connection, as Kafka does: an answer in a shape that
// the client does not expect would be worse.
var errUnsupported = errors.New("request key or version is not supported")

// A request is one decoded request. Byte slices in it alias the connection's
// read buffer: they are valid until the handler returns.
type request struct {
	kmsg.Request
	conn     *conn
	clientID string
	hangUp   error // set by a handler that can tell an error in no other way
}

// client is the sender as the group coordinator knows it.
func (r *request) client() group.Client { return group.Client{ID: r.clientID, Host: r.conn.host} }

// A handler answers one request. A nil response sends nothing. ctx ends when
// the client goes away or the broker closes.
type handler func(b *Broker, ctx context.Context, req *request) kmsg.Response

// An api is one request key.
type api struct {
	key      kmsg.Key
	min, max int16
	from0    bool // ApiVersions tells 0 as the lowest version
	keeps    bool // the handler keeps bytes of the request: decode a copy
	wide     bool // the answer may be many times as long as the request: memory for it is taken first
	handle   handler
	metrics  *metrics.Request
	longest  *atomic.Int64 // bytes of the longest answer so far
}

// apis has what this broker answers, in the order of keys. It is a function,
// not a variable, since the ApiVersions handler reads it.
func apis() []api {
	return []api{
		// librdkafka before 2.9 takes a lowest version above 0 for "no gzip,
		// snappy, lz4" (KAFKA-18659).
		{key: kmsg.Produce, min: 3, max: 13, from0: true, handle: (*Broker).produce},
		{key: kmsg.Fetch, min: 4, max: 18, handle: (*Broker).fetch},
		{key: kmsg.ListOffsets, min: 1, max: 11, handle: (*Broker).listOffsets},
		{key: kmsg.Metadata, min: 0, max: 13, wide: true, handle: (*Broker).metadata},
		{key: kmsg.OffsetCommit, min: 2, max: 10, keeps: true, handle: (*Broker).offsetCommit},
		{key: kmsg.OffsetFetch, min: 1, max: 10, wide: true, keeps: true, handle: (*Broker).offsetFetch},
		{key: kmsg.FindCoordinator, min: 0, max: 6, handle: (*Broker).findCoordinator},
		{key: kmsg.JoinGroup, min: 0, max: 9, keeps: true, handle: (*Broker).joinGroup},
		{key: kmsg.Heartbeat, min: 0, max: 4, keeps: true, handle: (*Broker).heartbeat},
		{key: kmsg.LeaveGroup, min: 0, max: 5, keeps: true, handle: (*Broker).leaveGroup},
		{key: kmsg.SyncGroup, min: 0, max: 5, keeps: true, handle: (*Broker).syncGroup},
		{key: kmsg.DescribeGroups, min: 0, max: 6, wide: true, keeps: true, handle: (*Broker).describeGroups},
		{key: kmsg.ListGroups, min: 0, max: 5, wide: true, keeps: true, handle: (*Broker).listGroups},
		{key: kmsg.ApiVersions, min: 0, max: 4, handle: (*Broker).apiVersions},
		{key: kmsg.CreateTopics, min: 2, max: 7, handle: (*Broker).createTopics},
		{key: kmsg.DeleteTopics, min: 1, max: 6, handle: (*Broker).deleteTopics},
		{key: kmsg.DeleteRecords, min: 0, max: 2, handle: (*Broker).deleteRecords},
		{key: kmsg.InitProducerID, min: 0, max: 5, handle: (*Broker).initProducerID},
		{key: kmsg.OffsetForLeaderEpoch, min: 2, max: 4, handle: (*Broker).offsetForLeaderEpoch},
		{key: kmsg.DescribeConfigs, min: 1, max: 4, wide: true, handle: (*Broker).describeConfigs},
		{key: kmsg.AlterConfigs, min: 0, max: 2, handle: (*Broker).alterConfigs},
		{key: kmsg.DescribeLogDirs, min: 1, max: 5, wide: true, handle: (*Broker).describeLogDirs},
		{key: kmsg.CreatePartitions, min: 0, max: 3, handle: (*Broker).createPartitions},
		{key: kmsg.DeleteGroups, min: 0, max: 2, keeps: true, handle: (*Broker).deleteGroups},
		{key: kmsg.ElectLeaders, min: 0, max: 2, handle: (*Broker).electLeaders},
		{key: kmsg.IncrementalAlterConfigs, min: 0, max: 1, handle: (*Broker).incrementalAlterConfigs},
		{key: kmsg.OffsetDelete, min: 0, max: 0, keeps: true, handle: (*Broker).offsetDelete},
		{key: kmsg.DescribeCluster, min: 0, max: 2, handle: (*Broker).describeCluster},
		{key: kmsg.DescribeProducers, min: 0, max: 0, wide: true, handle: (*Broker).describeProducers},
		{key: kmsg.ConsumerGroupHeartbeat, min: 0, max: 1, keeps: true, handle: (*Broker).consumerGroupHeartbeat},
		{key: kmsg.ConsumerGroupDescribe, min: 0, max: 1, wide: true, keeps: true, handle: (*Broker).consumerGroupDescribe},
		{key: kmsg.ListConfigResources, min: 0, max: 1, handle: (*Broker).listConfigResources},
		{key: kmsg.DescribeTopicPartitions, min: 0, max: 0, wide: true, handle: (*Broker).describeTopicPartitions},
	}
}

// handle answers one frame: it appends the answer, with its length, to out, which
// the caller releases. An empty answer is none. An error closes the connection.
func (b *Broker) handle(ctx context.Context, c *conn, frame []byte, out *answer) error {
	h, body, err := wire.ParseHeader(frame)
	if err != nil {
		return err
	}
	a, ok := b.apis[h.Key]
	if !ok {
		return fmt.Errorf("%w: key %d version %d", errUnsupported, h.Key, h.Version)
	}
	if h.Version < a.min || h.Version > a.max {
		if a.key == kmsg.ApiVersions {
			out.appendResponse(h.CorrelationID, unsupportedApiVersions())
			return nil
		}
		return fmt.Errorf("%w: %s version %d", errUnsupported, a.key.Name(), h.Version)
	}
	req, err := decode(a, h, body)
	if err != nil {
		return fmt.Errorf("decode %s version %d: %w", a.key.Name(), h.Version, err)
	}
	r := &request{Request: req, conn: c, clientID: h.ClientID}
	c.timing.Begin(a.metrics)
	if n := a.longest.Load(); n > inlineBytes && a.wide && !named(req) {
		if err := out.charge.add(ctx, n); err != nil {
			return err
		}
	}
	resp := a.handle(b, ctx, r)
	c.timing.End(coordinated(a.key))
	if resp == nil {
		return r.hangUp
	}
	out.appendResponse(h.CorrelationID, resp)
	out.settle(a.longest)
	return nil
}

// named tells whether a request says of what it wants to hear, not all that there is.
func named(req kmsg.Request) bool {
	switch req := req.(type) {
	case *kmsg.MetadataRequest:
		return len(req.Topics) > 0
	case *kmsg.DescribeLogDirsRequest:
		return req.Topics != nil
	default:
		return false
	}
}

func decode(a *api, h wire.Header, body []byte) (kmsg.Request, error) {
	body, err := wire.Check(h.Key, h.Version, body)
	if err != nil {
		return nil, err
	}
	if a.keeps {
		body = bytes.Clone(body)
	}
	req := a.key.Request()
	req.SetVersion(h.Version)
	return req, req.ReadFrom(body)
}
