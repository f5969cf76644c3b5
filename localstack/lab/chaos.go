package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos"
	"github.com/outbox-relay/outbox-relay/localstack/run/stack"
)

type chaosCmd struct {
	Seed    uint64   `help:"Seed of the first run. Each further run has the next one." env:"SEED" default:"1"`
	Runs    int      `help:"Number of runs." env:"RUNS" default:"10"`
	PG      []int    `name:"pg" help:"Major versions of Postgres, used in turn." env:"PG" default:"15,18"`
	Workers int      `help:"Concurrent runs. A run mostly waits." env:"WORKERS" default:"4"`
	Faults  []string `help:"Only these faults, by their names in the table, with semicolons between them." env:"FAULTS" sep:";"`
	Shapes  []string `help:"Only these shapes of the outbox table, by their names in the table." env:"SHAPES"`
	Emitted bool     `help:"Emitted events in every run that can have them, and no fault that loses the log." env:"EMITTED"`
	Keep    bool     `help:"Save the history of every run, not only of failed ones." env:"KEEP"`
	Relay   string   `help:"Binary of the relay. The relay of this repository is built if empty." env:"RELAY_BINARY"`
}

func (c *chaosCmd) Run(ctx context.Context, s *stack.Stack) error {
	_, err := chaos.Run(ctx, chaos.Options{
		Root: s.Root, Dir: filepath.Join(s.Dir, "chaos"), CacheDir: filepath.Join(s.Dir, "cache"), Relay: c.Relay,
		Seed: c.Seed, Runs: c.Runs, Versions: c.PG, Workers: c.Workers, Faults: c.Faults,
		Shapes: c.Shapes, Emitted: c.Emitted, Keep: c.Keep, Out: os.Stdout,
	})
	return err
}
