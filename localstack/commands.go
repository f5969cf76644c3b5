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
	APIPort int `help:"Port of the API in the printed commands." env:"API_PORT" default:"3000"`
}

func (c *upCmd) Run(ctx context.Context, s *stack.Stack) error {
	state, err := s.Up(ctx)
	if err != nil {
		return err
	}
	fmt.Printf(`
Next steps:
  make api            serve the API on http://127.0.0.1:%d, then in another terminal:
                      curl -i http://127.0.0.1:%[1]d/orders -H 'Content-Type: application/json' -d '%s'
  make read-events    print the events as the relay publishes them
  make demo           post orders and compare the events
  make localstack-status, make localstack-logs, make localstack-down

For your own programs (or: eval "$(make localstack-env)"):
`, c.APIPort, sampleOrder)
	printEnvironment(state, "  ")
	return nil
}

// sampleOrder is a valid order.
const sampleOrder = `{"customer_id":"customer-1","currency":"EUR",` +
	`"lines":[{"sku":"book","quantity":1,"unit_price":1999}]}`

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
	Lines  int    `help:"Number of lines from the end." env:"LINES" default:"50"`
	Follow bool   `help:"Follow the log until Ctrl-C." env:"FOLLOW"`
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
	Arch        string `help:"Processor, amd64 or arm64. The processor of the container engine if empty." env:"IMAGE_ARCH" enum:",amd64,arm64" default:""`
	Version     string `help:"Output of relay version." default:"dev"`
	SourceEpoch int64  `help:"Modification time of all files in the image, in seconds since 1970." env:"SOURCE_DATE_EPOCH"`
}

func (c *imageCmd) Run(ctx context.Context, s *stack.Stack) error {
	return s.BuildImage(ctx, stack.Image{
		Tag: c.Tag, Arch: c.Arch, Version: c.Version,
		Created: time.Unix(c.SourceEpoch, 0),
	})
}

type superviseCmd struct{}

// progressFD is the file descriptor on which the supervisor reports its progress to the command
// that started it.
const progressFD = 3

func (superviseCmd) Run(ctx context.Context, s *stack.Stack) error {
	progress := os.NewFile(progressFD, "progress")
	if progress == nil {
		return errors.New("supervise is internal: run localstack up")
	}
	return s.Supervise(ctx, progress)
}
