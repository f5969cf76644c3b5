package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/bench"
	"github.com/outbox-relay/outbox-relay/localstack/stack"
)

type benchCmd struct {
	Quick  bool     `help:"Two minutes instead of a quarter of an hour." env:"QUICK"`
	Rounds int      `help:"How often each drain is measured; the median counts. 0: three times, once if it is quick." env:"ROUNDS"`
	Events int      `help:"Events of a backlog. 0: 200,000, 100,000 if it is quick." env:"EVENTS"`
	TLS    bool     `help:"TLS between relay and broker." env:"BENCH_TLS"`
	Only   string   `help:"Only these measurements: 'one row', 'one row over TCP', 'quota', 'hundred rows', 'large payload', 'one million', 'ten million', 'steady' or 'settings'." env:"ONLY"`
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
		TLS: c.TLS,
		Self: func(latency time.Duration, authority string) *exec.Cmd {
			return exec.Command(self, "bench-broker", "--latency", latency.String(), "--authority", authority)
		},
		Out: os.Stdout,
	})
}

// benchBrokerCmd is the broker of a benchmark, in a process of its own. It prints its address.
type benchBrokerCmd struct {
	Latency   time.Duration `help:"Between a request and its answer."`
	Authority string        `help:"File for the certificate; there is TLS if it is set."`
}

func (c *benchBrokerCmd) Run(ctx context.Context) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if c.Authority != "" {
		if listener, err = bench.Secure(listener, c.Authority); err != nil {
			return err
		}
	}
	fmt.Println(listener.Addr())
	return (&bench.Broker{Latency: c.Latency}).Serve(ctx, listener)
}
