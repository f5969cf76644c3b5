// Package testrun runs go test and prints its progress every minute. Its output is formatted like
// go test's own.
package testrun

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// interval is the time between two lines of progress.
const interval = time.Minute

// Settings are the settings of one run of go test.
type Settings struct {
	Dir     string    // where go test runs
	Args    []string  // of go test: flags and packages
	Env     []string  // of go test and the tests
	Out     io.Writer // for everything but go test's own errors, which go to Err
	Err     io.Writer
	DumpDir string // for the goroutines of a package that timed out
}

// Run runs go test. It returns go test's error: a test failed, or ctx has ended.
func Run(ctx context.Context, s Settings) error {
	if asks(s.Args, "json") {
		return command(ctx, s, s.Args, s.Out).Run()
	}
	// go test reports the error of a pattern that go list does not accept.
	plan, _ := planFor(ctx, s.Dir, s.Args)
	verbose := slices.ContainsFunc([]string{"v", "bench", "fuzz", "list"},
		func(flag string) bool { return asks(s.Args, flag) })
	p := &printer{out: s.Out, state: newState(plan, verbose, time.Now())}
	stop := p.tellProgress(interval)
	err := command(ctx, s, append([]string{"-json"}, s.Args...), p).Run()
	stop()
	return errors.Join(err, p.finish(s.DumpDir))
}

func command(ctx context.Context, s Settings, args []string, out io.Writer) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test"}, args...)...)
	cmd.Dir, cmd.Env = s.Dir, s.Env
	cmd.Stdout, cmd.Stderr = out, s.Err
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) } // go test passes it on to the tests
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// asks reports whether args contain a flag of go test.
func asks(args []string, flag string) bool {
	for _, arg := range args {
		name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
		switch {
		case arg == "-args" || arg == "--args": // the arguments after it are for the tests
			return false
		case strings.HasPrefix(arg, "-") && strings.TrimPrefix(name, "test.") == flag:
			return true
		}
	}
	return false
}

// printer prints the events of go test as text.
type printer struct {
	mu    sync.Mutex
	out   io.Writer
	state *state
	rest  []byte // an incomplete line
}

// Write processes output of go test -json.
func (p *printer) Write(output []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rest = append(p.rest, output...)
	for {
		line, rest, ended := bytes.Cut(p.rest, []byte("\n"))
		if !ended {
			return len(output), nil
		}
		if _, err := io.WriteString(p.out, p.state.line(string(line))); err != nil {
			return 0, err
		}
		p.rest = rest
	}
}

// tellProgress prints a line in each interval until stop is called.
func (p *printer) tellProgress(interval time.Duration) (stop func()) {
	done := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case now := <-ticker.C:
				p.mu.Lock()
				fmt.Fprintln(p.out, p.state.progress(now))
				p.mu.Unlock()
			}
		}
	})
	return func() {
		close(done)
		telling.Wait()
	}
}

// finish prints the remaining output after go test has ended, and writes the stack traces of
// packages that timed out to dir.
func (p *printer) finish(dir string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pkg := range p.state.order {
		if len(pkg.goroutines) == 0 {
			continue
		}
		path := filepath.Join(dir, "goroutines-"+strings.ReplaceAll(p.state.short(pkg.name), "/", "-")+".txt")
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(path, []byte(strings.Join(pkg.goroutines, "")),
			0o644)); err != nil {
			return fmt.Errorf("keep the goroutines of %s: %w", pkg.name, err)
		}
		fmt.Fprintf(p.out, "goroutines of %s when its time was up: %s\n", p.state.short(pkg.name), path)
	}
	fmt.Fprint(p.out, string(p.rest)+p.state.end())
	return nil
}
