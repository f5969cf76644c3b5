// Command localstack runs Postgres, the broker, the relay and the API on one machine. The Makefile
// calls it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/outbox-relay/outbox-relay/localstack/run/stack"
)

// cli has every command and setting. `localstack --help` prints them.
type cli struct {
	Stack        string `help:"How to run the stack: compose, host or embedded. The first that works if empty." env:"STACK"`
	Dir          string `help:"Directory of all built, downloaded and stored files." env:"LOCAL_DIR" default:".local"`
	PostgresPort int    `help:"Port of Postgres." env:"POSTGRES_PORT" default:"15432"`
	BrokerPort   int    `help:"Port of SNS and SQS." env:"BROKER_PORT" default:"4566"`
	RelayPort    int    `help:"Port of the relay's probes and metrics." env:"RELAY_PORT" default:"9464"`

	Began int64 `help:"Start time of make, in seconds since 1970." env:"LOCALSTACK_BEGAN" hidden:""`

	Up        upCmd        `cmd:"" help:"Start Postgres, the broker and the relay."`
	Down      downCmd      `cmd:"" help:"Stop the stack."`
	Status    statusCmd    `cmd:"" help:"Show the running parts, their addresses and the undelivered events."`
	Logs      logsCmd      `cmd:"" help:"Show the log of the relay or of another part."`
	Env       envCmd       `cmd:"" help:"Print environment variables for programs that use the stack, for eval."`
	API       apiCmd       `cmd:"" name:"api" help:"Build the functions and serve the API in the foreground."`
	Demo      demoCmd      `cmd:"" help:"Start the stack, post orders and read their events from the queue."`
	Image     imageCmd     `cmd:"" help:"Build the relay's image."`
	Supervise superviseCmd `cmd:"" hidden:"" help:"Run the background process of up."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "localstack:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var c cli
	parser, err := kong.New(&c, kong.Name("localstack"), kong.Description("The stack on one machine."),
		kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		return err
	}
	command, err := parser.Parse(args)
	if err != nil {
		return err
	}
	s, err := c.stack()
	if err != nil {
		return err
	}
	err = command.Run(s)
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx))) {
		return errors.New("interrupted")
	}
	return err
}

func (c *cli) stack() (*stack.Stack, error) {
	root, dir, err := stack.Checkout(c.Dir)
	if err != nil {
		return nil, err
	}
	var began time.Time
	if c.Began > 0 {
		began = time.Unix(c.Began, 0)
	}
	return stack.New(stack.Settings{
		Root: root, Dir: dir, Insist: stack.Way(c.Stack), Out: os.Stdout, Began: began,
		Ports: stack.Ports{Postgres: c.PostgresPort, Broker: c.BrokerPort, Relay: c.RelayPort},
	}), nil
}
