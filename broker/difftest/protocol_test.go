// SPDX-License-Identifier: Apache-2.0

package difftest

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// cases are all of them.
func cases() []testCase {
	var all []testCase
	for _, some := range [][]testCase{
		protocolCases(), metadataCases(), produceCases(), fetchCases(), offsetCases(), topicCases(),
		configCases(), groupCases(), commitCases(), consumerCases(),
	} {
		all = append(all, some...)
	}
	return all
}

func apiVersions(name, version string) *kmsg.ApiVersionsRequest {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = name, version
	return req
}

// keys are those that the broker announces.
var keys = []kmsg.Key{
	kmsg.Produce, kmsg.Fetch, kmsg.ListOffsets, kmsg.Metadata, kmsg.OffsetCommit, kmsg.OffsetFetch, kmsg.FindCoordinator,
	kmsg.JoinGroup, kmsg.Heartbeat, kmsg.LeaveGroup, kmsg.SyncGroup, kmsg.DescribeGroups, kmsg.ListGroups, kmsg.ApiVersions,
	kmsg.CreateTopics, kmsg.DeleteTopics, kmsg.DeleteRecords, kmsg.InitProducerID, kmsg.OffsetForLeaderEpoch,
	kmsg.DescribeConfigs, kmsg.AlterConfigs, kmsg.DescribeLogDirs, kmsg.CreatePartitions, kmsg.DeleteGroups, kmsg.ElectLeaders,
	kmsg.IncrementalAlterConfigs, kmsg.OffsetDelete, kmsg.DescribeCluster, kmsg.DescribeProducers, kmsg.ConsumerGroupHeartbeat,
	kmsg.ConsumerGroupDescribe, kmsg.ListConfigResources, kmsg.DescribeTopicPartitions,
}

func protocolCases() []testCase {
	all := []testCase{
		{name: "api versions", key: kmsg.ApiVersions, run: func(s *script) {
			s.do("right", apiVersions("difftest", "1.0"))
			s.do("no software name", apiVersions("", "1.0"))
			s.do("no software version", apiVersions("difftest", ""))
			s.do("odd software name", apiVersions("-difftest", "1.0"))
			req := apiVersions("difftest", "1.0")
			req.ClusterID = kmsg.StringPtr("another")
			s.do("another cluster", req)
			req.NodeID = 77
			s.do("another node", req)
		}},
		{name: "api versions too new", once: true, run: func(s *script) {
			for _, v := range []int16{5, 99, -1} {
				v0 := apiVersions("difftest", "1.0") // the answer is of version 0
				s.raw(fmt.Sprint("version ", v), v0, func(h *header, body []byte) []byte {
					h.version, h.flexible = v, true
					return body
				})
			}
		}},
		{name: "unknown keys", once: true, run: func(s *script) {
			for _, key := range []int16{-1, 4, 5, 6, 7, 1000, 32767} {
				s.raw(fmt.Sprint("key ", key), apiVersions("", ""), func(h *header, body []byte) []byte {
					h.key = key
					return body
				})
			}
		}},
		{name: "frames", once: true, run: func(s *script) {
			each(map[string][]byte{
				"of no length":        {0, 0, 0, 0},
				"of negative length":  {255, 255, 255, 255},
				"of 2 GB":             {127, 255, 255, 255},
				"shorter than a head": {0, 0, 0, 4, 0, 18, 0, 0},
			}, func(label string, b []byte) {
				c := &conn{addr: s.addr}
				err := c.write(b)
				if err == nil {
					_, err = c.receive(0)
				}
				s.record("frame", 0, label, map[string]string{"": fmt.Sprint(err)})
				c.close()
			})
		}},
	}
	for _, k := range keys {
		all = append(all, testCase{name: "shape of " + k.Name(), key: k, alone: true, run: shapes},
			testCase{name: "versions of " + k.Name(), once: true, alone: true, run: func(s *script) {
				r := s.apis[k.Int16()]
				for _, v := range []int16{-1, r[0] - 1, r[1] + 1, 99} {
					if v < r[0] || v > r[1] && k != kmsg.ApiVersions {
						req := k.Request()
						s.raw(fmt.Sprint("version ", v), req, func(h *header, body []byte) []byte {
							h.version = v
							return body
						})
					}
				}
			}})
	}
	return all
}

// shapes sends an empty request, and then one that is not quite well-formed.
func shapes(s *script) {
	again := func() kmsg.Request {
		req := s.key.Request()
		switch r := req.(type) {
		case *kmsg.ProduceRequest:
			r.Acks, r.TimeoutMillis = 1, 1000
		case *kmsg.JoinGroupRequest:
			r.SessionTimeoutMillis = 60_000
		case *kmsg.ApiVersionsRequest:
			r.ClientSoftwareName, r.ClientSoftwareVersion = "difftest", "1"
		}
		return req
	}
	s.do("empty", again())
	s.raw("no client id", again(), func(h *header, body []byte) []byte {
		h.clientID = nil
		return body
	})
	s.raw("long client id", again(), func(h *header, body []byte) []byte {
		h.clientID = kmsg.StringPtr(strings.Repeat("x", 30_000))
		return body
	})
	if again().IsFlexible() {
		s.raw("tags in the head", again(), func(h *header, body []byte) []byte {
			h.tags = []byte{2, 100, 3, 'a', 'b', 'c', 101, 0}
			return body
		})
		s.raw("tags out of order", again(), func(h *header, body []byte) []byte {
			h.tags = []byte{2, 101, 0, 100, 0}
			return body
		})
		s.raw("a tag too long", again(), func(h *header, body []byte) []byte {
			h.tags = []byte{1, 100, 0xff, 0xff, 3}
			return nil
		})
		s.raw("tags in the body", again(), func(_ *header, body []byte) []byte {
			return append(body[:len(body)-1:len(body)-1], 1, 100, 2, 'x', 'y')
		})
	}
	s.raw("trailing bytes", again(), func(_ *header, body []byte) []byte { return append(body, 1, 2, 3) })
	if len(again().AppendTo(nil)) > 0 {
		s.raw("a byte short", again(), func(_ *header, body []byte) []byte { return body[:len(body)-1] })
		s.raw("no body", again(), func(*header, []byte) []byte { return nil })
		s.raw("only ones", again(), func(_ *header, body []byte) []byte {
			for i := range body {
				body[i] = 0xff
			}
			return body
		})
	}
}
