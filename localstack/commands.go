package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/run/stack"
)

type upCmd struct {
	APIPort int `help:"Port of the API, for what to do next." env:"API_PORT" default:"3000"`
}

func (c *upCmd) Run(ctx context.Context, s *stack.Stack) error {
	state, err := s.Up(ctx)
	if err != nil {
		return err
	}
	fmt.Printf(`
What to do next:
  make api            serve the API on http://127.0.0.1:%d, then in another terminal:
                      curl -i http://127.0.0.1:%[1]d/orders -H 'Content-Type: application/json' -d '%s'
  make read-events    print the events that the relay publishes, as they come
  make demo           both, and compare
  make localstack-status, make localstack-logs, make localstack-down

For programs of your own (or: eval "$(make localstack-env)"):
`, c.APIPort, sampleOrder)
	printEnvironment(state, "  ")
	return nil
}

// sampleOrder is an order that the API takes.
const sampleOrder = `{"customer_id":"customer-1","currency":"EUR","lines":[{"sku":"book","quantity":1,"unit_price":1999}]}`

func printEnvironment(state stack.State, indent string) {
	for _, variable := range state.Environment() {
		fmt.Printf("%sexport %s=%q\n", indent, variable[0], variable[1])
	}
}

type downCmd struct {
	Data bool `help:"Remove the database too." env:"DATA"`
}

func (c *downCmd) Run(ctx context.Context, s *stack.Stack) error { return s.Down(ctx, c.Data) }

type statusCmd struct{}

func (statusCmd) Run(ctx context.Context, s *stack.Stack) error { return s.Status(ctx, os.Stdout) }

type logsCmd struct {
	Part   string `help:"relay, postgres or broker." env:"PART" default:"relay"`
	Lines  int    `help:"How many of the last lines." env:"LINES" default:"50"`
	Follow bool   `help:"Go on until Ctrl-C." env:"FOLLOW"`
}

func (c *logsCmd) Run(ctx context.Context, s *stack.Stack) error {
	return s.Logs(ctx, stack.LogRequest{Part: c.Part, Lines: c.Lines, Follow: c.Follow, Out: os.Stdout})
}

type envCmd struct{}

func (envCmd) Run(s *stack.Stack) error {
	state, err := s.Load()
	if err != nil {
		return err
	}
	printEnvironment(state, "")
	return nil
}

type imageCmd struct {
	Tag         string `help:"Name of the image." env:"IMAGE" default:"outbox-relay:local"`
	Arch        string `help:"Processor, amd64 or arm64; that of the container engine if empty." env:"IMAGE_ARCH" enum:",amd64,arm64" default:""`
	Version     string `help:"What relay version prints." default:"dev"`
	SourceEpoch int64  `help:"Time of everything in the image, in seconds since 1970." env:"SOURCE_DATE_EPOCH"`
}

func (c *imageCmd) Run(ctx context.Context, s *stack.Stack) error {
	return s.BuildImage(ctx, stack.Image{Tag: c.Tag, Arch: c.Arch, Version: c.Version, Created: time.Unix(c.SourceEpoch, 0)})
}

type superviseCmd struct{}

// progressFD is where the supervisor tells the command that started it how far it is.
const progressFD = 3

func (superviseCmd) Run(ctx context.Context, s *stack.Stack) error {
	progress := os.NewFile(progressFD, "progress")
	if progress == nil {
		return errors.New("supervise is called by up, not by a person")
	}
	return s.Supervise(ctx, progress)
}
