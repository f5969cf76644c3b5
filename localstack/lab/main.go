// Command lab tests and measures the relay on one machine. The Makefile calls it. It is a program
// of its own, so that make demo does not compile it.
package main

import (
	"os"

	"github.com/outbox-relay/outbox-relay/localstack/run/command"
	"github.com/outbox-relay/outbox-relay/localstack/run/stack"
)

// cli has every command and setting. `lab --help` prints them.
type cli struct {
	Dir string `help:"Directory of all built, downloaded and stored files." env:"LOCAL_DIR" default:".local"`

	Test    testCmd         `cmd:"" help:"Run all tests, with LocalStack if it is available."`
	Chaos   chaosCmd        `cmd:"" help:"Run relays under random load and faults, and check every event."`
	History checkHistoryCmd `cmd:"" name:"check-history" help:"Check recorded histories, also of other relays: FILE… of JSON lines."`
	Tour    tourCmd         `cmd:"" help:"Show how the relay behaves in faults, step by step."`
	Bench   benchCmd        `cmd:"" help:"Measure the speed of the relay against that of pg_recvlogical."`
	Broker  benchBrokerCmd  `cmd:"" name:"bench-broker" hidden:"" help:"Run the broker of bench."`
}

func main() { command.Main("lab", "Tests and measurements on one machine.", &cli{}) }

// NewStack implements [command.Settings]. The lab needs its directories alone.
func (c *cli) NewStack() (*stack.Stack, error) {
	root, dir, err := stack.Checkout(c.Dir)
	if err != nil {
		return nil, err
	}
	return stack.New(stack.Settings{Root: root, Dir: dir, Out: os.Stdout}), nil
}
