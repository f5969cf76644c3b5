package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/run/stack"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
	"github.com/outbox-relay/outbox-relay/localstack/testing/testrun"
)

type testCmd struct {
	Args              []string      `arg:"" optional:"" help:"Flags and packages for go test, after --; all packages if empty."`
	LocalStack        string        `help:"Endpoint of a running LocalStack." env:"LOCALSTACK_ENDPOINT"`
	RequireLocalStack bool          `help:"Fail if LocalStack is not available." env:"REQUIRE_LOCALSTACK"`
	Timeout           time.Duration `help:"Time limit of each package." env:"TEST_TIMEOUT" default:"30m"`
}

// Run prints the skipped tests in its last lines.
func (c *testCmd) Run(ctx context.Context, s *stack.Stack) error {
	skipped := ""
	if c.LocalStack == "" {
		broker, err := s.StartTestBroker(ctx)
		switch {
		case err == nil:
			c.LocalStack = broker.Endpoint
			defer broker.Stop()
		case ctx.Err() != nil || c.RequireLocalStack:
			return fmt.Errorf("LocalStack is not available: %w", err)
		default:
			skipped = fmt.Sprintf("SKIPPED: the tests with LocalStack, which is not available: %v", err)
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
		fmt.Println("No test was skipped because of LocalStack.")
	}
	return nil
}

// longest is the package whose tests take longest. They start first, and the others run beside
// them.
const longest = "./relay/e2e"

// goTest limits each package to 30 minutes unless TEST_TIMEOUT sets another limit. The slowest
// package took 13 minutes on two cores that six other processes used as well, so a machine with
// twice that load does not fail.
func (c *testCmd) goTest(ctx context.Context, s *stack.Stack, race []string) error {
	// Without the cache, which does not know the programs that tests build and run.
	args := append([]string{"-count=1", "-timeout=" + c.Timeout.String(), packages()}, race...)
	all := len(c.Args) == 0
	if all {
		c.Args = []string{longest, "./..."}
	}
	clusters, remove, err := clusterDir()
	if err != nil {
		return err
	}
	defer remove()
	env := slices.DeleteFunc(os.Environ(), isOfAWS)
	if clusters != "" {
		env = append(env, "PGTEST_DIR="+clusters)
	}
	if c.LocalStack != "" {
		env = append(env, "LOCALSTACK_ENDPOINT="+c.LocalStack)
	}
	var fetching sync.WaitGroup
	defer fetching.Wait()
	if all {
		fetching.Go(func() {
			// A test that needs a server which is not available reports the error.
			_ = pgtest.Fetch(ctx, servers...)
		})
	}
	return testrun.Run(ctx, testrun.Settings{
		Dir: s.Root, Args: append(args, c.Args...), Env: env, Out: os.Stdout, Err: os.Stderr, DumpDir: s.Dir,
	})
}

// servers are those that tests need. They are fetched while go test compiles.
var servers = []pgtest.Options{{Version: 15}, {Version: 18}, {Version: 17}, {Release: pgtest.StaleRelease}}

// isOfAWS reports whether a variable configures AWS clients. No test needs those of the shell. A
// profile or a region would reach the relays under test, and a CA bundle takes each of them a fifth
// of its start to read with the race detector.
func isOfAWS(variable string) bool { return strings.HasPrefix(variable, "AWS_") }

// packages returns the flag for the number of packages whose tests run at once, which is one more
// than go test chooses. The package that takes longest needs one place to its end. On two cores the
// other 96 packages took turns at the second place, and they mostly wait for other processes.
func packages() string { return fmt.Sprintf("-p=%d", runtime.GOMAXPROCS(0)+1) }

// raceFlag omits the race detector if it cannot be linked, mostly because a C compiler is missing.
func raceFlag(ctx context.Context) (flag []string, skipped string) {
	cgo, err := exec.CommandContext(ctx, "go", "env", "CGO_ENABLED").Output()
	if err == nil && string(bytes.TrimSpace(cgo)) == "1" {
		return []string{"-race"}, ""
	}
	return nil, "SKIPPED: the race detector, which needs a C compiler"
}
