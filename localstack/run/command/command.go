// Package command runs one command of a program for a local stack. It handles signals, reads the
// settings and reports errors, in the same way for every program.
package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/outbox-relay/outbox-relay/localstack/run/stack"
)

// Settings are the settings of a program, with its commands.
type Settings interface {
	// NewStack returns the stack for which a command runs.
	NewStack() (*stack.Stack, error)
}

// Main runs the command that the arguments name, and exits with 1 if it fails. settings is a
// pointer to a structure that kong fills. The commands get the stack and a context that ends with
// an interrupt.
func Main(name, description string, settings Settings) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, name, description, settings)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, name, description string, settings Settings) error {
	parser, err := kong.New(settings, kong.Name(name), kong.Description(description),
		kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		return err
	}
	command, err := parser.Parse(os.Args[1:])
	if err != nil {
		return err
	}
	s, err := settings.NewStack()
	if err != nil {
		return err
	}
	err = command.Run(s)
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx))) {
		return errors.New("interrupted")
	}
	return err
}
