package stack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// supervised runs the stack as processes of this machine, under a background process: the
// supervisor.
type supervised struct {
	*Stack
	way Way
}

func (p *supervised) name() Way { return p.way }

func (p *supervised) check(ctx context.Context) error {
	if p.way == Embedded {
		return nil
	}
	_, err := findPython(ctx)
	return err
}

func (p *supervised) prepare(ctx context.Context) error {
	if p.way == Host {
		if err := p.installLocalStack(ctx); err != nil {
			return err
		}
	}
	return p.buildPrograms(ctx)
}

// progressReady is the last line of a supervisor that has started every part. The lines before it
// are messages for the user.
const progressReady = "\x00ready"

// up starts the supervisor and prints its messages until every part runs. It stops the supervisor
// if ctx ends.
func (p *supervised) up(ctx context.Context) error {
	if p.way == Embedded {
		p.report("note: the broker and S3 are a fake inside this program, good for trying things out; with Docker or " +
			"Python 3.13 it is LocalStack")
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	defer reader.Close()
	cmd, err := p.startSupervisor(writer)
	writer.Close()
	if err != nil {
		return err
	}
	stopWatching := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stopWatching()

	problem := errors.New("it ended without a word, see " + p.log("supervisor"))
	lines := bufio.NewScanner(reader)
	for lines.Scan() {
		if lines.Text() == progressReady {
			return cmd.Process.Release()
		}
		if text, failed := strings.CutPrefix(lines.Text(), "error: "); failed {
			problem = errors.New(strings.ReplaceAll(text, "\x00", "\n"))
			continue
		}
		if step, begins := strings.CutPrefix(lines.Text(), stepMark); begins {
			p.begin("%s", step)
			continue
		}
		p.report("%s", lines.Text())
	}
	_ = cmd.Wait() // the supervisor printed the reason
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("start the stack: %w", problem)
}

// startSupervisor starts this program's supervise command in a session of its own, out of reach of
// Ctrl-C.
func (p *supervised) startSupervisor(progress *os.File) (*exec.Cmd, error) {
	if err := os.MkdirAll(p.path("log"), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the logs: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	log, err := createLog(p.log("supervisor"))
	if err != nil {
		return nil, fmt.Errorf("open the supervisor's log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(self, "supervise")
	cmd.Dir = p.Root
	cmd.Env = append(os.Environ(), "STACK="+string(p.way), "LOCAL_DIR="+p.Dir,
		"POSTGRES_PORT="+strconv.Itoa(p.Ports.Postgres),
		"BROKER_PORT="+strconv.Itoa(p.Ports.Broker),
		"RELAY_PORT="+strconv.Itoa(p.Ports.Relay),
	)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{progress} // file descriptor 3 of the supervisor
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	return cmd, nil
}

// downTimeout is longer than a supervisor needs to stop its parts one after the other.
const downTimeout = 90 * time.Second

// down stops the supervisor. The lock, and not the process id, proves that one runs.
func (p *supervised) down(ctx context.Context, state State) error {
	p.begin("stopping the relay, the broker and Postgres (usually 5 seconds)")
	if err := syscall.Kill(state.Supervisor, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop the supervisor, process %d: %w", state.Supervisor, err)
	}
	ctx, cancel := context.WithTimeout(ctx, downTimeout)
	defer cancel()
	for p.supervised() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the supervisor, process %d, did not stop: %w: see %s", state.Supervisor, ctx.Err(),
				p.log("supervisor"))
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

func (p *supervised) logs(ctx context.Context, request LogRequest) error {
	file, err := os.Open(p.log(request.Part))
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", request.Part, err)
	}
	defer file.Close()
	if err := seekToLastLines(file, request.Lines); err != nil {
		return fmt.Errorf("read the log of %s: %w", request.Part, err)
	}
	for {
		if _, err := io.Copy(request.Out, file); err != nil {
			return fmt.Errorf("read the log of %s: %w", request.Part, err)
		}
		if !request.Follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}
