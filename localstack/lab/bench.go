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
	"github.com/outbox-relay/outbox-relay/localstack/run/stack"
)

type benchCmd struct {
	Quick  bool     `help:"Measure for a few minutes instead of a quarter of an hour." env:"QUICK"`
	Rounds int      `help:"Rounds of each drain, of which the median counts. 0: three, or one with QUICK." env:"ROUNDS"`
	Events int      `help:"Events that a contestant drains in a round. 0: 400,000, or 200,000 with QUICK." env:"EVENTS"`
	Only   string   `help:"Only these measurements: 'one row', 'one row over TLS', 'one row over TCP', 'one row over socket', 'quarter core', 'quota', 'hundred rows', 'large payload', 'large among small', 'messages', 'one million', 'ten million', 'steady' or 'settings'." env:"ONLY"`
	Relay  []string `help:"Binaries of the relay to compare. The relay of this repository is built if empty." env:"RELAY_BINARY"`
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
		Root: s.Root, Dir: dir, Cache: filepath.Join(s.Dir, "cache"), Quick: c.Quick, Rounds: c.Rounds,
		Events: c.Events, Only: c.Only, Relays: c.Relay,
		Self: func(o bench.BrokerOptions) *exec.Cmd {
			return exec.Command(self, "bench-broker", "--latency", o.Latency.String(), "--certificate", o.Certificate,
				"--key", o.Key,
				fmt.Sprintf("--per-second=%g", o.PerSecond), fmt.Sprintf("--burst=%d", o.Burst))
		},
		Out: os.Stdout,
	})
}

// benchBrokerCmd runs the broker of a benchmark in its own process. It prints its address.
type benchBrokerCmd struct {
	Latency     time.Duration `help:"Time between a request and its answer."`
	Certificate string        `help:"File of the certificate for TLS. No TLS if empty."`
	Key         string        `help:"File of the certificate's key."`
	PerSecond   float64       `help:"Quota in requests a second. No quota if 0."`
	Burst       int           `help:"Requests above the quota that the broker accepts at once."`
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
		broker.Quota = bench.NewQuota(c.PerSecond, c.Burst)
	}
	return broker.Serve(ctx, listener)
}
