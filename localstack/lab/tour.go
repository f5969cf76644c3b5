package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/term"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos"
	"github.com/outbox-relay/outbox-relay/localstack/lab/tour"
	"github.com/outbox-relay/outbox-relay/localstack/run/stack"
)

type tourCmd struct {
	Port     int    `help:"Port of the first relay's page. The second relay has the next port." env:"TOUR_PORT" default:"9474"`
	Pictures bool   `help:"Take the pictures of the documents, which needs a browser." env:"PICTURES"`
	Relay    string `help:"Binary of the relay. The relay of this repository is built if empty." env:"RELAY_BINARY"`
}

// Run waits for Enter before each step if a reader sits at the terminal.
func (c *tourCmd) Run(ctx context.Context, s *stack.Stack) error {
	dir := filepath.Join(s.Dir, "tour")
	o := tour.Options{
		Dir: dir, CacheDir: filepath.Join(s.Dir, "cache"), Relay: c.Relay,
		Ports: [2]int{c.Port, c.Port + 1}, Out: os.Stdout,
	}
	if c.Pictures {
		o.Pictures = filepath.Join(s.Root, "relay", "docs", "pictures")
	}
	if o.Relay == "" {
		var err error
		if o.Relay, err = chaos.BuildRelay(ctx, s.Root, filepath.Join(s.Dir, "bin", "relay")); err != nil {
			return err
		}
	}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		lines := make(chan error)
		go readLines(lines)
		o.Next = func(ctx context.Context) error {
			fmt.Print("\nPress Enter for the next step. ")
			select {
			case err := <-lines:
				return err
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return tour.Run(ctx, o)
}

func readLines(lines chan<- error) {
	reader := bufio.NewReader(os.Stdin)
	for {
		_, err := reader.ReadString('\n')
		lines <- err
	}
}
