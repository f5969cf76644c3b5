package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/run/stack"
	"github.com/outbox-relay/outbox-relay/localstack/testing/testrun"
)

type testCmd struct {
	Args              []string      `arg:"" optional:"" help:"Flags and packages for go test, after --; all packages if empty."`
	LocalStack        string        `help:"Endpoint of a LocalStack that runs already." env:"LOCALSTACK_ENDPOINT"`
	RequireLocalStack bool          `help:"Fail where LocalStack cannot be had." env:"REQUIRE_LOCALSTACK"`
	Timeout           time.Duration `help:"Time limit of each package." env:"TEST_TIMEOUT" default:"30m"`
}

// Run ends with a line that says what was not tested.
func (c *testCmd) Run(ctx context.Context, s *stack.Stack) error {
	skipped := ""
	if c.LocalStack == "" {
		broker, err := s.StartTestBroker(ctx)
		switch {
		case err == nil:
			c.LocalStack = broker.Endpoint
			defer broker.Stop()
		case ctx.Err() != nil || c.RequireLocalStack:
			return fmt.Errorf("LocalStack cannot be had: %w", err)
		default:
			skipped = fmt.Sprintf("SKIPPED: what needs LocalStack, which cannot be had: %v", err)
		}
	}
	race, raceSkipped := raceFlag(ctx)
	err := c.goTest(ctx, s, race)
	if err != nil {
		return fmt.Errorf("go test: %w", err)
	}
	for _, line := range []string{raceSkipped, skipped} {
		if line != "" {
			fmt.Println(line)
		}
	}
	if skipped == "" {
		fmt.Println("Nothing was skipped for want of LocalStack.")
	}
	return nil
}

// goTest runs the tests in 30 minutes for each package unless TEST_TIMEOUT says otherwise. The
// slowest package took 13 on two cores that six other processes wanted as well, and must not fail
// for that where there is twice as much to do.
func (c *testCmd) goTest(ctx context.Context, s *stack.Stack, race []string) error {
	// Not from the cache, which does not know the programs that tests build and run.
	args := append([]string{"-count=1", "-timeout=" + c.Timeout.String()}, race...)
	if len(c.Args) == 0 {
		c.Args = []string{"./..."}
	}
	env := os.Environ()
	if c.LocalStack != "" {
		env = append(env, "LOCALSTACK_ENDPOINT="+c.LocalStack)
	}
	return testrun.Run(ctx, testrun.Settings{
		Dir: s.Root, Args: append(args, c.Args...), Env: env, Out: os.Stdout, Err: os.Stderr, DumpDir: s.Dir,
	})
}

// raceFlag leaves the race detector out where it cannot be linked: without a C compiler, on most
// systems.
func raceFlag(ctx context.Context) (flag []string, skipped string) {
	cgo, err := exec.CommandContext(ctx, "go", "env", "CGO_ENABLED").Output()
	if err == nil && string(bytes.TrimSpace(cgo)) == "1" {
		return []string{"-race"}, ""
	}
	return nil, "SKIPPED: the race detector, which needs a C compiler"
}
