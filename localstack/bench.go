package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/lab/bench"
	"github.com/outbox-relay/outbox-relay/localstack/lab/tokenbucket"
	"github.com/outbox-relay/outbox-relay/localstack/run/stack"
)

type benchCmd struct {
	Quick  bool     `help:"Two minutes instead of a quarter of an hour." env:"QUICK"`
	Rounds int      `help:"How often each drain is measured; the median counts. 0: three times, once if it is quick." env:"ROUNDS"`
	Events int      `help:"Events of a backlog. 0: 300,000, 200,000 if it is quick." env:"EVENTS"`
	Only   string   `help:"Only these measurements: 'one row', 'one row over TLS', 'one row over TCP', 'one row over socket', 'quarter core', 'quota', 'hundred rows', 'large payload', 'one million', 'ten million', 'steady' or 'settings'." env:"ONLY"`
	Relay  []string `help:"Binaries to compare; the relay is built if there are none." env:"RELAY_BINARY"`
}

func (c *benchCmd) Run(ctx context.Context, s *stack.Stack) error {
	dir := filepath.Join(s.Dir, "bench")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return bench.Run(ctx, bench.Options{
		Root: s.Root, Dir: dir, Cache: filepath.Join(s.Dir, "cache"), Quick: c.Quick, Rounds: c.Rounds, Events: c.Events, Only: c.Only, Relays: c.Relay,
		Self: func(o bench.BrokerOptions) *exec.Cmd {
			return exec.Command(self, "bench-broker", "--latency", o.Latency.String(), "--certificate", o.Certificate, "--key", o.Key,
				fmt.Sprintf("--per-second=%g", o.PerSecond), fmt.Sprintf("--burst=%g", o.Burst))
		},
		Out: os.Stdout,
	})
}

// benchBrokerCmd is the broker of a benchmark, in a process of its own. It prints its address.
type benchBrokerCmd struct {
	Latency     time.Duration `help:"Between a request and its answer."`
	Certificate string        `help:"File of a certificate; there is TLS if it is set."`
	Key         string        `help:"File of its key."`
	PerSecond   float64       `help:"Requests a second that the quota takes; there is none if it is 0."`
	Burst       float64       `help:"Requests that the quota takes at once."`
}

func (c *benchBrokerCmd) Run(ctx context.Context) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if c.Certificate != "" {
		if listener, err = bench.Secure(listener, c.Certificate, c.Key); err != nil {
			return err
		}
	}
	fmt.Println(listener.Addr())
	broker := &bench.Broker{Latency: c.Latency}
	if c.PerSecond > 0 {
		broker.Quota = tokenbucket.New(c.PerSecond, c.Burst)
	}
	return broker.Serve(ctx, listener)
}
