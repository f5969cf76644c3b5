package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/stack"
)

type testCmd struct {
	Args              []string      `arg:"" optional:"" help:"Flags and packages for go test, after --; all packages if empty."`
	LocalStack        string        `help:"Endpoint of a LocalStack that runs already." env:"LOCALSTACK_ENDPOINT"`
	RequireLocalStack bool          `help:"Fail where LocalStack cannot be had." env:"REQUIRE_LOCALSTACK"`
	Timeout           time.Duration `help:"For each package." env:"TEST_TIMEOUT" default:"10m"`
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
	err := c.goTest(ctx, s.Root, race)
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

func (c *testCmd) goTest(ctx context.Context, root string, race []string) error {
	// Not from the cache, which does not know the programs that tests build and run.
	args := append([]string{"test", "-count=1", "-timeout", c.Timeout.String()}, race...)
	if len(c.Args) == 0 {
		c.Args = []string{"./..."}
	}
	cmd := exec.CommandContext(ctx, "go", append(args, c.Args...)...)
	cmd.Dir = root
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = os.Environ()
	if c.LocalStack != "" {
		cmd.Env = append(cmd.Env, "LOCALSTACK_ENDPOINT="+c.LocalStack)
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) } // go test passes it on to the tests
	cmd.WaitDelay = 10 * time.Second
	return cmd.Run()
}

// raceFlag leaves the race detector out where it cannot be linked: without a C compiler, on most systems.
func raceFlag(ctx context.Context) (flag []string, skipped string) {
	cgo, err := exec.CommandContext(ctx, "go", "env", "CGO_ENABLED").Output()
	if err == nil && string(bytes.TrimSpace(cgo)) == "1" {
		return []string{"-race"}, ""
	}
	return nil, "SKIPPED: the race detector, which needs a C compiler"
}
