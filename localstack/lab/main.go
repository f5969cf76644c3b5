// Command lab tests and measures the relay on one machine. The Makefile calls it. It is a program
// of its own, so that make demo does not compile it.
package main

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

// cli has every command and setting. `lab --help` prints them.
type cli struct {
	Dir string `help:"Directory of all built, downloaded and stored files." env:"LOCAL_DIR" default:".local"`

	Test   testCmd        `cmd:"" help:"Run all tests, with LocalStack if it is available."`
	Chaos  chaosCmd       `cmd:"" help:"Run relays under random load and faults, and check every event."`
	Bench  benchCmd       `cmd:"" help:"Measure the speed of the relay against that of pg_recvlogical."`
	Broker benchBrokerCmd `cmd:"" name:"bench-broker" hidden:"" help:"Run the broker of bench."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var c cli
	parser, err := kong.New(&c, kong.Name("lab"), kong.Description("Tests and measurements on one machine."),
		kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		return err
	}
	command, err := parser.Parse(args)
	if err != nil {
		return err
	}
	root, dir, err := stack.Checkout(c.Dir)
	if err != nil {
		return err
	}
	err = command.Run(stack.New(stack.Settings{Root: root, Dir: dir, Out: os.Stdout}))
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx))) {
		return errors.New("interrupted")
	}
	return err
}
