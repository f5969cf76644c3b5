package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

type checkCommand struct{ relaySettings }

// Run prints what a relay with these settings finds, in the order in which it looks.
func (c *checkCommand) Run(ctx context.Context, w io.Writer) error {
	progress := preflight.Progress{
		Found:   func(f preflight.Finding) { printFinding(w, f) },
		Waiting: func(subject string) { fmt.Fprintf(os.Stderr, "waiting for %s\n", subject) },
	}
	_, found := c.prepare(ctx, c.logger(os.Stderr), progress)
	if c.Listen != "" {
		found = append(found, preflight.Listen(ctx, c.Listen, progress)...)
	}
	if errs := found.Of(preflight.Error); len(errs) > 0 {
		return errors.New("run would not start")
	}
	_, err := fmt.Fprintln(w, "nothing stands in the way of relay run")
	return err
}

// printFinding prints a finding as one line, and the statement that cures it on a line of its own,
// so that it can be copied.
func printFinding(w io.Writer, f preflight.Finding) {
	fmt.Fprintf(w, "%-9s %-16s %s\n", f.Level, f.Code, f.Explanation)
	if f.Statement != "" {
		fmt.Fprintf(w, "%27s%s\n", "", f.Statement)
	}
}
