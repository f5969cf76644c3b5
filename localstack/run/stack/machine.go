package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

type portSetting struct {
	port          int
	part, setting string
}

func (p Ports) settings() []portSetting {
	return []portSetting{
		{p.Postgres, "Postgres", "POSTGRES_PORT"},
		{p.Broker, "the broker", "BROKER_PORT"},
		{p.Relay, "the relay", "RELAY_PORT"},
	}
}

// checkDistinct returns an error with the settings that assign one port to two parts.
func (p Ports) checkDistinct() error {
	first := map[int]string{}
	for _, s := range p.settings() {
		if other, taken := first[s.port]; taken {
			return fmt.Errorf("%s and %s are both %d: choose another port for one of them", other, s.setting, s.port)
		}
		first[s.port] = s.setting
	}
	return nil
}

// checkPorts returns an error with every occupied port and its setting.
func (s *Stack) checkPorts() error {
	var taken []error
	for _, p := range s.Ports.settings() {
		taken = append(taken, CheckPort(p.port, p.part, p.setting))
	}
	return errors.Join(taken...)
}

// CheckPort returns an error with part and setting if the port cannot be bound.
func CheckPort(port int, part, setting string) error {
	listener, err := net.Listen("tcp", local(port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("port %d for %s is taken: stop what uses it, or choose another with %s=…", port, part,
			setting)
	}
	if err != nil {
		return fmt.Errorf("port %d for %s: %w: choose another with %s=…", port, part, err, setting)
	}
	return listener.Close()
}

// checkDisk returns an error if less than need bytes are free.
func (s *Stack) checkDisk(need uint64) error {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return fmt.Errorf("make the folder of the stack (LOCAL_DIR): %w", err)
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(s.Dir, &fs); err != nil {
		return fmt.Errorf("look at the disk of %s: %w", s.Dir, err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < need {
		return fmt.Errorf("%d MB are free for %s and %d MB needed: make room, or choose another folder with "+
			"LOCAL_DIR=…",
			free>>20, s.Dir, need>>20)
	}
	return nil
}

// goBuild compiles statically. The result depends neither on the location of the checkout nor on
// other files in it. Without cgo a program runs in an image without a C library too. The flags are
// those of the Makefile, so that shared packages are compiled once.
func (s *Stack) goBuild(ctx context.Context, environment []string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-buildvcs=false"}, args...)...)
	cmd.Dir = s.Root
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), environment...)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(output))
	}
	return nil
}

// lambdaTag is the tag of the functions in the Makefile. It excludes a protocol of older runtimes
// and the packages that only that protocol needs.
const lambdaTag = "lambda.norpc"

// buildPrograms compiles the programs for this machine.
func (s *Stack) buildPrograms(ctx context.Context) error {
	s.begin("building the relay and its helpers with go build (the first time usually half a minute on two cores)")
	return s.goBuild(ctx, nil, "-tags", lambdaTag, "-ldflags", "-s -w", "-o", s.path("bin")+"/", "./relay/cmd/relay",
		"./functions/migrate")
}

// Interrupted reports whether an error was caused by Ctrl-C. The terminal sends the signal to the
// child processes too, and they can end before ctx does.
func Interrupted(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	case <-time.After(100 * time.Millisecond):
		return false
	}
}

// run runs a program and returns its output. An error includes the output.
func run(ctx context.Context, timeout time.Duration, name string, args ...string) (string, error) {
	return runCommand(ctx, timeout, exec.Command(name, args...))
}

// runCommand is [run] for a command with a folder, an environment or an input of its own.
func runCommand(ctx context.Context, timeout time.Duration, cmd *exec.Cmd) (string, error) {
	interruptible := ctx
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	bounded := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	bounded.Dir, bounded.Env, bounded.Stdin = cmd.Dir, cmd.Env, cmd.Stdin
	bounded.WaitDelay = time.Second // a grandchild may hold the output open
	output, err := bounded.CombinedOutput()
	text := strings.TrimSpace(string(output))
	name := strings.Join(cmd.Args, " ")
	if interruptible.Err() != nil {
		return text, fmt.Errorf("%s: %w", name, context.Cause(interruptible))
	}
	if ctx.Err() != nil {
		return text, fmt.Errorf("%s did not answer within %s", name, timeout)
	}
	if err != nil {
		return text, fmt.Errorf("%s: %w: %s", name, err, lastLine(text))
	}
	return text, nil
}

func lastLine(text string) string { return lastLines(text, 1) }

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
