// Package fakeaws is an in-memory SNS, SQS and EventBridge on one port: the broker of the embedded
// stack, of tests and of benchmarks. It also serves secrets, for tests of code that reads its
// password from Secrets Manager, and objects of S3, for large events. It speaks the Query protocol
// to SNS clients and AWS JSON to SQS and EventBridge clients, and accepts any credentials. It
// follows AWS in details that emulators lack: per-entry failures, deduplication and its scopes,
// group locking, and exact size limits. [Server.Script] injects faults that no emulator produces.
//
// MessageRetentionPeriod is stored and not applied. Access policies and encryption keys are stored
// and not enforced. A topic and an event bus deliver only to queues.
package fakeaws

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options are the address and the names of a server. The zero Options are suitable for a test.
type Options struct {
	Addr    string           // 127.0.0.1:0 if empty
	Region  string           // us-east-1 if empty
	Account string           // 000000000000 if empty
	Retain  int              // limit of messages in each queue and journal, the oldest go first; 0: no limit
	Now     func() time.Time // time.Now if nil
	// Accepted is called for each message that the queue, topic or bus arn accepts, in order and
	// before the answer. It must not block. It may be nil.
	Accepted func(arn string, r Receipt)
}

// Server is a running fake. Its methods are safe for concurrent use.
type Server struct {
	options  Options
	url      string
	identify *identifiers
	script   script

	mu      sync.RWMutex
	queues  map[string]*sqsQueue // by name
	topics  map[string]*topic    // by name
	buses   map[string]*bus      // by name
	secrets map[string]string    // by ARN
	buckets map[string]*s3Bucket // by name
	closed  bool

	http     http.Server
	cancel   context.CancelFunc // ends waiting requests
	serving  sync.WaitGroup
	handling sync.WaitGroup
}

// Start listens and serves until [Server.Close].
func Start(options Options) (*Server, error) {
	options.Addr = cmp.Or(options.Addr, "127.0.0.1:0")
	options.Region = cmp.Or(options.Region, "us-east-1")
	options.Account = cmp.Or(options.Account, "000000000000")
	if options.Now == nil {
		options.Now = time.Now
	}
	listener, err := net.Listen("tcp", options.Addr)
	if err != nil {
		return nil, fmt.Errorf("start the fake of AWS: %w", err)
	}
	base, cancel := context.WithCancel(context.Background())
	s := &Server{
		options:  options,
		url:      "http://" + listener.Addr().String(),
		identify: newIdentifiers(),
		queues:   map[string]*sqsQueue{},
		topics:   map[string]*topic{},
		buses:    map[string]*bus{},
		secrets:  map[string]string{},
		buckets:  map[string]*s3Bucket{},
		cancel:   cancel,
	}
	s.buses[defaultBus] = s.newBus(defaultBus)
	s.http.BaseContext = func(net.Listener) context.Context { return base }
	s.http.Handler = http.HandlerFunc(s.serveHTTP)
	s.serving.Go(func() { _ = s.http.Serve(listener) }) // returns http.ErrServerClosed after Close
	return s, nil
}

// URL returns the endpoint for AWS_ENDPOINT_URL, for example http://127.0.0.1:4566.
func (s *Server) URL() string { return s.url }

// Close ends every request and waits for all goroutines of the server.
func (s *Server) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return errors.New("the fake of AWS is closed already")
	}
	s.cancel()
	err := s.http.Close()
	s.handling.Wait()
	s.serving.Wait()
	return err
}

// enter counts a request, and returns false if the server is closing.
func (s *Server) enter() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return false
	}
	s.handling.Add(1)
	return true
}
