// SPDX-License-Identifier: Apache-2.0

package difftest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A node is one of the two that are compared.
type node struct {
	name string
	addr string
	apis map[int16][2]int16 // the versions of each key that both nodes have

	mu     sync.Mutex
	topics map[[16]byte]string // every id that was seen, and its topic
}

func (n *node) learn(id [16]byte, topic string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.topics[id] = topic
}

func (n *node) topic(id [16]byte) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name, ok := n.topics[id]
	return name, ok
}

// A testCase is a script that runs on both nodes.
type testCase struct {
	name  string
	key   kmsg.Key // run at every version of it that both have
	once  bool     // run once, without a version
	alone bool     // nothing else may change while it runs
	run   func(s *script)
}

// A step is one recorded answer.
type step struct {
	api     string
	version int16
	label   string
	fields  map[string]string // by path; a closed connection is the value of ""
}

// A script is one run of a case on one node. Its methods give up the run by a
// panic, which the trace then ends with.
type script struct {
	*node
	testCase
	version int16
	conns   map[string]*conn
	symbols map[string]string // volatile strings, and the name of each in answers
	trace   []step
}

type giveUp struct{ why string }

func (s *script) fail(format string, args ...any) { panic(giveUp{fmt.Sprintf(format, args...)}) }

// play runs the case and returns what the node answered.
func (n *node) play(c testCase, version int16) (trace []step) {
	s := &script{node: n, testCase: c, version: version, conns: map[string]*conn{}, symbols: map[string]string{}}
	defer func() {
		for _, c := range s.conns {
			c.close()
		}
		switch r := recover().(type) {
		case nil:
		case giveUp:
			s.record("script", version, "end", map[string]string{"": r.why})
		default:
			panic(r)
		}
		trace = s.trace
	}()
	c.run(s)
	return s.trace
}

// name is one that no other case and version has: of topics and groups.
func (s *script) unique(what string) string {
	return strings.ReplaceAll(fmt.Sprintf("%s-v%d-%s", s.testCase.name, s.version, what), " ", "-")
}

// on is a connection by name: a client of its own.
func (s *script) on(client string) *conn {
	c, ok := s.conns[client]
	if !ok {
		c = &conn{addr: s.addr}
		s.conns[client] = c
	}
	return c
}

// whole tells whether a long list of wrong values is to be tried whole: at the
// highest version, or at every one if MILLRACE_LONG is set.
func (s *script) whole() bool {
	return os.Getenv("MILLRACE_LONG") != "" || s.once || s.version == s.apis[s.key.Int16()][1]
}

// at sets the version of a request: the one that the case runs at, if it is for
// its key, else the highest of both that is not above.
func (s *script) at(req kmsg.Request) {
	switch {
	case req.GetVersion() > 0: // chosen by the script
	case !s.once && req.Key() == s.key.Int16():
		req.SetVersion(s.version)
	default:
		req.SetVersion(s.apis[req.Key()][1])
	}
}

// A pending is a request that was sent.
type pending struct {
	s     *script
	c     *conn
	req   kmsg.Request
	label string
	id    int32
	err   error
}

// start sends a request by a client of its own, whose answer may be late.
func (s *script) start(client, label string, req kmsg.Request) *pending {
	s.at(req)
	p := &pending{s: s, c: s.on(client), req: req, label: label}
	p.id, p.err = p.c.send(headerOf(req), req.AppendTo(nil))
	return p
}

// wait reads the answer.
func (p *pending) wait() kmsg.Response {
	var body []byte
	err := p.err
	if err == nil {
		body, err = p.c.receive(p.id)
	}
	return p.s.answered(p.label, p.req, body, err)
}

func (s *script) answered(label string, req kmsg.Request, body []byte, err error) kmsg.Response {
	var resp kmsg.Response
	if err == nil {
		resp, err = decode(req, body)
	}
	fields := map[string]string{}
	switch {
	case errors.Is(err, errClosed):
		fields[""] = "closed"
	case err != nil:
		fields[""] = err.Error()
	default:
		s.flatten(fields, resp)
	}
	s.record(kmsg.NameForKey(req.Key()), req.GetVersion(), label, fields)
	return resp
}

func (s *script) record(api string, version int16, label string, fields map[string]string) {
	if label != "" {
		s.trace = append(s.trace, step{api, version, label, fields})
	}
}

// do sends a request, records the answer under label, and returns it: nil if
// the node closed the connection.
func (s *script) do(label string, req kmsg.Request) kmsg.Response {
	return s.start("", label, req).wait()
}

func do[Resp kmsg.Response](s *script, label string, req kmsg.Request) Resp {
	resp, ok := s.do(label, req).(Resp)
	if !ok {
		s.fail("no answer to %s, %s", kmsg.NameForKey(req.Key()), label)
	}
	return resp
}

// ask sends a request that is part of the scene, not of the comparison.
func ask[Resp kmsg.Response](s *script, req kmsg.Request) Resp { return do[Resp](s, "", req) }

// raw sends a frame whose body was tampered with, and records how the node
// answers: in the shape of req.
func (s *script) raw(label string, req kmsg.Request, tamper func(h *header, body []byte) []byte) {
	s.at(req)
	h := headerOf(req)
	body := tamper(&h, req.AppendTo(nil))
	c := &conn{addr: s.addr} // one of its own: it may be closed, and the others not
	defer c.close()
	id, err := c.send(h, body)
	var got []byte
	if err == nil {
		got, err = c.receive(id)
	}
	s.answered(label, req, got, err)
}

// until asks until done says so: for what a node does in its own time.
func (s *script) until(what string, done func() bool) {
	for end := time.Now().Add(patience); !done(); {
		if time.Now().After(end) {
			s.fail("%s: not after %v", what, patience)
		}
		pause()
	}
}

// each does something by name, in the order of names: on both nodes the same.
func each[T any](all map[string]T, do func(label string, v T)) {
	for _, label := range slices.Sorted(maps.Keys(all)) {
		do(label, all[label])
	}
}

// pause is between two questions of a loop that waits for another process.
func pause() { <-time.After(10 * time.Millisecond) }

// errorName is how a code reads.
func errorName(code int16) string {
	if code == 0 {
		return "NONE"
	}
	if e := kerr.TypedErrorForCode(code); e != nil {
		return e.Message
	}
	return fmt.Sprint(code)
}
