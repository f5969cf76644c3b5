// Command localstack runs Postgres, the broker, the relay and the API on one machine. The Makefile
// calls it.
package main

import (
	"os"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/run/command"
	"github.com/outbox-relay/outbox-relay/localstack/run/stack"
)

// cli has every command and setting. `localstack --help` prints them.
type cli struct {
	Stack        string `help:"How to run the stack: compose, host or embedded. The first that works if empty." env:"STACK"`
	Dir          string `help:"Directory of all built, downloaded and stored files." env:"LOCAL_DIR" default:".local"`
	PostgresPort int    `help:"Port of Postgres." env:"POSTGRES_PORT" default:"15432"`
	BrokerPort   int    `help:"Port of the broker: SNS, SQS and EventBridge." env:"BROKER_PORT" default:"4566"`
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

func main() { command.Main("localstack", "The stack on one machine.", &cli{}) }

// NewStack implements [command.Settings].
func (c *cli) NewStack() (*stack.Stack, error) {
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
