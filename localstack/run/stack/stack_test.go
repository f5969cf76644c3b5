package stack

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/outbox-relay/outbox-relay/localstack/run/messaging"
	"github.com/outbox-relay/outbox-relay/localstack/testing/procgroup"
)

// fakeWay fails as its fields say.
type fakeWay struct {
	way
	is                     Way
	checkFails, prepareErr error
}

func (f fakeWay) name() Way                     { return f.is }
func (f fakeWay) check(context.Context) error   { return f.checkFails }
func (f fakeWay) prepare(context.Context) error { return f.prepareErr }

func TestFirstUsableWayIsChosen(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := New(Settings{Dir: t.TempDir(), Out: &out})
	w, err := s.choose(t.Context(), []way{
		fakeWay{is: Compose, checkFails: errors.New("no engine")},
		fakeWay{is: Host, prepareErr: errors.New("pip says no")},
		fakeWay{is: Embedded},
	})
	if err != nil || w.name() != Embedded {
		t.Fatalf("took %v (%v), want embedded", w, err)
	}
	for _, want := range []string{"no engine", "pip says no", "taking the embedded way"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output %q does not say %q", out.String(), want)
		}
	}
}

func TestNoWayThatWorksNamesEveryReason(t *testing.T) {
	t.Parallel()
	s := New(Settings{Dir: t.TempDir(), Out: &bytes.Buffer{}})
	_, err := s.choose(t.Context(), []way{
		fakeWay{is: Compose, checkFails: errors.New("no engine")}, fakeWay{
			is:         Host,
			prepareErr: errors.New("pip says no"),
		},
	})
	if err == nil || !strings.Contains(err.Error(), "no engine") || !strings.Contains(err.Error(), "pip says no") {
		t.Errorf("error %v does not name both reasons", err)
	}
}

func TestInsistingLeavesOneWayOrNone(t *testing.T) {
	t.Parallel()
	for _, name := range []Way{Compose, Host, Embedded} {
		ways, err := New(Settings{Insist: name}).ways()
		if err != nil || len(ways) != 1 || ways[0].name() != name {
			t.Errorf("STACK=%s gives %v (%v)", name, ways, err)
		}
	}
	if _, err := New(Settings{Insist: "cloud"}).ways(); err == nil || !strings.Contains(err.Error(), "STACK=cloud") {
		t.Errorf("STACK=cloud gives the error %v", err)
	}
}

func TestPortsThatAreTakenAreAllNamedWithTheirSettings(t *testing.T) {
	t.Parallel()
	first, second := listen(t), listen(t)
	s := New(Settings{Ports: Ports{Postgres: first, Broker: freeTestPort(t), Relay: second}})
	err := s.checkPorts()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{strconv.Itoa(first), "POSTGRES_PORT", strconv.Itoa(second), "RELAY_PORT"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "BROKER_PORT") {
		t.Errorf("error %q names a port that is free", err)
	}
}

func TestOnePortForTwoPartsIsRefusedWithBothSettings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ports Ports
		want  string
	}{
		{Ports{Postgres: 7, Broker: 7, Relay: 8}, "POSTGRES_PORT and BROKER_PORT are both 7"},
		{Ports{Postgres: 7, Broker: 8, Relay: 7}, "POSTGRES_PORT and RELAY_PORT are both 7"},
		{Ports{Postgres: 7, Broker: 8, Relay: 8}, "BROKER_PORT and RELAY_PORT are both 8"},
	} {
		s := New(Settings{Dir: t.TempDir(), Ports: c.ports, Insist: Embedded, Out: &bytes.Buffer{}})
		if _, err := s.Up(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("ports %+v: error is %v, want %q", c.ports, err, c.want)
		}
	}
}

func TestStatusNamesFailedPartsAndIsAnError(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := New(Settings{Dir: t.TempDir(), Out: &bytes.Buffer{}})
	state := State{Way: Compose, Ready: true, Ports: Ports{
		Postgres: freeTestPort(t), Broker: freeTestPort(t),
		Relay: freeTestPort(t),
	}}
	if err := s.save(state); err != nil {
		t.Fatal(err)
	}
	if err := s.Status(t.Context(), &out); err == nil {
		t.Error("no error")
	}
	first, _, _ := strings.Cut(out.String(), "\n")
	if want := "up, but postgres, the broker and the relay do not work"; !strings.Contains(first, want) {
		t.Errorf("first line is %q, want %q in it", first, want)
	}
}

func TestDiskThatIsFullIsNamedWithItsSetting(t *testing.T) {
	t.Parallel()
	s := New(Settings{Dir: t.TempDir()})
	if err := s.checkDisk(1 << 62); err == nil || !strings.Contains(err.Error(), "LOCAL_DIR") {
		t.Errorf("error %v does not name LOCAL_DIR", err)
	}
	if err := s.checkDisk(1); err != nil {
		t.Errorf("one byte: %v", err)
	}
}

func TestEngineThatHangsIsNoEngine(t *testing.T) {
	t.Parallel()
	_, err := run(t.Context(), 100e6, "sleep", "60") // 100 ms
	if err == nil || !strings.Contains(err.Error(), "did not answer") {
		t.Errorf("error is %v", err)
	}
}

func TestInterruptedBuildIsNotAWayThatDoesNotWork(t *testing.T) {
	t.Parallel()
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	var out bytes.Buffer
	s := New(Settings{Dir: t.TempDir(), Out: &out})
	time.AfterFunc(10*time.Millisecond, func() { cancel(interrupted) }) // after the build was interrupted
	_, err := s.choose(ctx, []way{fakeWay{is: Embedded, prepareErr: errors.New("signal: interrupt")}})
	if !errors.Is(err, interrupted) || strings.Contains(err.Error(), "does not work") {
		t.Errorf("error is %v", err)
	}
}

func TestStateWithoutASupervisorIsNoStack(t *testing.T) {
	t.Parallel()
	s := New(Settings{Dir: t.TempDir(), Out: &bytes.Buffer{}})
	state := State{
		Way: Embedded, Ready: true, Supervisor: os.Getpid(),
		Outputs: messaging.Outputs{Queues: messaging.Queues{QueueUrl: "q"}},
	}
	if err := s.save(state); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(); err == nil || !strings.Contains(err.Error(), "make localstack-up") {
		t.Errorf("load without a supervisor: %v, want an error that says what to do", err)
	}
	unlock, err := s.tryLock("supervisor.lock")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if got, err := s.Load(); err != nil || got.Outputs.QueueUrl != "q" {
		t.Errorf("load with a supervisor: %+v, %v", got, err)
	}
}

func TestTwoCommandsDoNotWorkOnOneStackAtOnce(t *testing.T) {
	t.Parallel()
	s := New(Settings{Dir: t.TempDir(), Out: &bytes.Buffer{}})
	unlock, err := s.exclusive()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Down(t.Context(), false); err == nil {
		t.Error("down while another command is at work: no error")
	}
	unlock()
	if err := s.Down(t.Context(), false); err != nil {
		t.Errorf("down afterwards, with nothing to stop: %v", err)
	}
}

func TestLogsBeginWithTheLastLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		lines      int
		text, want string
	}{
		{2, "one\ntwo\nthree\n", "two\nthree\n"},
		{9, "one\ntwo\n", "one\ntwo\n"},
		{1, "", ""},
		{1, strings.Repeat("long line\n", 100_000), "long line\n"},
	} {
		s := New(Settings{Dir: t.TempDir()})
		if err := os.MkdirAll(filepath.Dir(s.log("relay")), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.log("relay"), []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := s.Logs(t.Context(), LogRequest{Part: "relay", Lines: c.lines, Out: &out}); err != nil ||
			out.String() != c.want {
			t.Errorf("last %d lines are %.40q (%v), want %.40q", c.lines, out.String(), err, c.want)
		}
	}
}

func TestPartThatEndsAgainAndAgainIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	s := New(Settings{Dir: t.TempDir(), Out: &bytes.Buffer{}})
	v := &supervisor{Stack: s}
	if err := os.MkdirAll(filepath.Dir(s.log("relay")), 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "relay")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho no such topic\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	v.relay = startRelay(relayCommand{path: program, log: s.log("relay")})
	t.Cleanup(func() { _ = v.stop() })
	err := s.await(t.Context(), v, "relay", func(context.Context) error { return errors.New("not ready") })
	if err == nil || !strings.Contains(err.Error(), "no such topic") {
		t.Errorf("error %v does not quote the relay's log", err)
	}
}

// compose.yaml and the host way run the same LocalStack and the same relay.
func TestContainersAndProcessesAreSetAlike(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct{ Environment map[string]string }
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	host := map[string]string{}
	for _, variable := range localStackEnvironment(4566) {
		name, value, _ := strings.Cut(variable, "=")
		host[name] = strings.Replace(value, "4566", "${BROKER_PORT:-4566}", 1)
	}
	if diff := cmp.Diff(file.Services["localstack"].Environment, host); diff != "" {
		t.Errorf("LocalStack in a container (-) and as a process (+):\n%s", diff)
	}
	const topic = "${RELAY_DESTINATION:-arn:aws:sns:us-east-1:000000000000:order-events.fifo}"
	relay := relayEnvironment(databaseURL("outbox_relay", "postgres:5432"), "http://localstack:4566", ":9464", topic)
	if diff := cmp.Diff(file.Services["relay"].Environment, relay); diff != "" {
		t.Errorf("relay in a container (-) and as a process (+):\n%s", diff)
	}
}

func TestPythonThatDoesNotRunIsNotTaken(t *testing.T) {
	shim := filepath.Join(t.TempDir(), "python3.13")
	if err := os.WriteFile(shim, []byte("#!/bin/sh\necho 'version 3.13 is not installed' >&2\nexit 127\n"),
		0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Dir(shim)+string(os.PathListSeparator)+os.Getenv("PATH"))
	if found, err := exec.LookPath("python3.13"); err != nil || found != shim {
		t.Fatalf("the shim is not first on PATH: %s, %v", found, err)
	}
	if python, err := findPython(t.Context()); err == nil && python == "python3.13" {
		t.Error("the shim was taken")
	}
}

func listen(t *testing.T) (port int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().(*net.TCPAddr).Port
}

func freeTestPort(t *testing.T) int {
	t.Helper()
	port, err := procgroup.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
