package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos"
	"github.com/outbox-relay/outbox-relay/localstack/run/stack"
)

type chaosCmd struct {
	Seed    uint64   `help:"Seed of the first run; each further one has the next." env:"SEED" default:"1"`
	Runs    int      `help:"How many runs." env:"RUNS" default:"10"`
	PG      []int    `name:"pg" help:"Versions of Postgres, in turns." env:"PG" default:"15,18"`
	Workers int      `help:"Runs at the same time; they mostly wait." env:"WORKERS" default:"4"`
	Faults  []string `help:"Only these faults, as the table names them." env:"FAULTS"`
	Keep    bool     `help:"Keep the history of every run, not only of a failed one." env:"KEEP"`
	Relay   string   `help:"Binary of the relay to try; it is built if empty." env:"RELAY_BINARY"`
}

func (c *chaosCmd) Run(ctx context.Context, s *stack.Stack) error {
	_, err := chaos.Run(ctx, chaos.Options{
		Root: s.Root, Dir: filepath.Join(s.Dir, "chaos"), CacheDir: filepath.Join(s.Dir, "cache"), Relay: c.Relay,
		Seed: c.Seed, Runs: c.Runs, Versions: c.PG, Workers: c.Workers, Faults: c.Faults, Keep: c.Keep, Out: os.Stdout,
	})
	return err
}
