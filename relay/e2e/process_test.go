package e2e_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is one running command of the relay.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	log    *buffer // stderr and stdout
	stdout *buffer
	done   chan struct{}
	err    error // set when done is closed
}

// env returns the environment variables of a relay, with more at the end.
func (w *testEnv) env(more ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"),
		"GORACE=atexit_sleep_ms=0", // the race detector otherwise sleeps a second at every exit
		"DATABASE_URL=" + w.url,
		"RELAY_SLOT=" + w.slot,
		"RELAY_DESTINATION=" + w.queue.URL,
		"RELAY_LOG_FORMAT=text",
		"RELAY_LOG_LEVEL=debug",
		"RELAY_LISTEN=",
		"AWS_ENDPOINT_URL=" + w.broker.URL(),
		"AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=test",
		"AWS_SECRET_ACCESS_KEY=test",
	}, more...)
}

// start starts a relay. The end of the test kills it.
func (w *testEnv) start(env ...string) *process {
	w.t.Helper()
	return w.startBinary(relayBinary, env...)
}

func (w *testEnv) startBinary(path string, env ...string) *process {
	w.t.Helper()
	return w.launch(path, env, "run")
}

// launch starts a command of the relay. The end of the test kills it.
func (w *testEnv) launch(path string, env []string, args ...string) *process {
	w.t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env = w.env(env...)
	return w.launchCommand(cmd)
}

// launchCommand is [testEnv.launch] for a command that is built by the test.
func (w *testEnv) launchCommand(cmd *exec.Cmd) *process {
	w.t.Helper()
	p := &process{t: w.t, cmd: cmd, log: &buffer{}, stdout: &buffer{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = io.MultiWriter(p.log, p.stdout), p.log
	w.must(p.cmd.Start())
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	w.t.Cleanup(func() {
		p.kill()
		if strings.Contains(p.log.String(), "DATA RACE") {
			w.t.Errorf("the relay has a data race")
		}
		if w.t.Failed() {
			w.t.Logf("log of relay %s %d:\n%s", p.cmd.Args[1], p.cmd.Process.Pid, tail(p.log.String(), 60))
		}
	})
	return p
}

// startStreaming starts a relay and waits until it streams.
func (w *testEnv) startStreaming(env ...string) *process {
	w.t.Helper()
	p := w.start(env...)
	p.awaitLog("event=streaming")
	return p
}

// kill sends SIGKILL and waits.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop sends SIGTERM and waits for a clean end.
func (p *process) stop() {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.wait(); err != nil {
		p.t.Fatalf("relay did not stop cleanly: %v", err)
	}
}

// wait returns how the process ended.
func (p *process) wait() error {
	p.t.Helper()
	select {
	case <-p.done:
		return p.err
	case <-time.After(patience):
		p.t.Fatalf("relay did not end")
		return nil
	}
}

// awaitLog waits until the log contains text.
func (p *process) awaitLog(text string) {
	p.t.Helper()
	began := time.Now()
	for !p.log.contains(text) {
		select {
		case <-p.done:
			if !p.log.contains(text) { // it may be the last line
				p.t.Fatalf("relay ended before it logged %q: %v", text, p.err)
			}
		case <-time.After(pollInterval(began)):
		}
		if time.Since(began) > patience {
			p.t.Fatalf("relay did not log %q", text)
		}
	}
}

// get requests a URL of the relay's HTTP server. A failed request has status 0.
func (w *testEnv) get(url string) (status int, body string) {
	w.t.Helper()
	response, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	w.must(err)
	return response.StatusCode, string(text)
}

// command runs a command of the relay to its end, or kills it after patience.
func (w *testEnv) command(env []string, args ...string) (output string, err error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, relayBinary, args...)
	cmd.Env = w.env(env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// buffer is a bytes.Buffer that several goroutines may use.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// contains is strings.Contains without a copy of the text, which grows to megabytes.
func (b *buffer) contains(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Contains(b.text.Bytes(), []byte(text))
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
