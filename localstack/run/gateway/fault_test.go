package gateway_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/run/gateway"
)

func mustBeInternalError(t *testing.T, a answer) {
	t.Helper()
	if a.status != http.StatusBadGateway || a.body != `{"message":"Internal server error"}` {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestFailedInvocationIsA502AndTheNextSucceeds(t *testing.T) {
	t.Parallel()
	g := startFaulty(t, gateway.Options{})
	for _, test := range []struct {
		fault       string
		sameProcess bool
	}{{"exit", false}, {"panic", false}, {"error", true}, {"sleep", false}, {"large", false}} {
		before := echo(t, send(t, "GET", g.URL()+"/do/echo", "", nil)).PID
		mustBeInternalError(t, send(t, "GET", g.URL()+"/do/"+test.fault, "", nil))
		after := echo(t, send(t, "GET", g.URL()+"/do/echo", "", nil)).PID
		if same := before == after; same != test.sameProcess {
			t.Errorf("%s: process %d before, %d after", test.fault, before, after)
		}
	}
}

// A gateway that waited for the process would answer with 504.
func TestRequestDoesNotWaitForAnEndedProcess(t *testing.T) {
	t.Parallel()
	g := startFaulty(t, gateway.Options{
		IntegrationTimeout: 1900 * time.Millisecond,
		Env:                map[string]string{"BROKEN": filepath.Join(t.TempDir(), "broken")},
	})
	for _, fault := range []string{"exit", "break", "echo"} {
		mustBeInternalError(t, send(t, "GET", g.URL()+"/do/"+fault, "", nil))
	}
}

func TestMalformedAnswerIsA502(t *testing.T) {
	t.Parallel()
	g := startFaulty(t, gateway.Options{})
	for _, body := range []string{
		`[]`, `"text"`, `{}`, `{"statusCode":"200"}`, `{"statusCode":42}`,
		`{"statusCode":200,"body":{}}`, `{"statusCode":200,"cookies":[]}`,
		`{"statusCode":200,"body":"%","isBase64Encoded":true}`,
	} {
		mustBeInternalError(t, send(t, "POST", g.URL()+"/do/answer", body, nil))
	}
}

func TestSlowRequestIsA504(t *testing.T) {
	t.Parallel()
	g := startFaulty(t, gateway.Options{IntegrationTimeout: 100 * time.Millisecond})
	// The first request finds the function idle. The second finds it busy with the first.
	for _, fault := range []string{"nap", "echo"} {
		a := send(t, "GET", g.URL()+"/do/"+fault, "", nil)
		if a.status != http.StatusGatewayTimeout || a.body != `{"message":"Endpoint request timed out"}` {
			t.Errorf("%s: %d %s", fault, a.status, a.body)
		}
	}
}

func TestConcurrencyLimitsParallelRequests(t *testing.T) {
	t.Parallel()
	g := startFaulty(t, gateway.Options{Concurrency: 3})
	var all sync.WaitGroup
	pids := make([]int, 6)
	for i := range pids {
		all.Go(func() { pids[i] = echo(t, send(t, "GET", g.URL()+"/do/nap", "", nil)).PID })
	}
	all.Wait()
	requests := map[int]int{}
	for _, pid := range pids {
		requests[pid]++
	}
	if len(requests) != 3 {
		t.Errorf("requests by process: %v", requests)
	}
}

func TestFailedStartIsReportedWithItsOutput(t *testing.T) {
	t.Parallel()
	if err := built.faulty(); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		options gateway.Options
		want    []string
	}{
		"exit": {
			gateway.Options{BuildDir: built.dir, Env: map[string]string{"BROKEN": "/"}},
			[]string{"Faulty", "exit status 1", "SETTING is empty"},
		},
		"missing binary": {
			gateway.Options{BuildDir: filepath.Join(built.dir, "nothing")},
			[]string{"Faulty", "bootstrap"},
		},
		"missing template": {gateway.Options{Template: "testdata/none.yaml"}, []string{"testdata/none.yaml"}},
		"foreign address":  {gateway.Options{Addr: "192.0.2.1:80"}, []string{"192.0.2.1:80"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := test.options
			if options.Addr == "" {
				options.Addr = "127.0.0.1:0"
			}
			if options.Template == "" {
				options.Template = "testdata/template.yaml"
			}
			_, err := gateway.Start(t.Context(), options)
			if err == nil {
				t.Fatal("started")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
}

func TestCloseFinishesRequestsAndProcesses(t *testing.T) {
	t.Parallel()
	if err := built.faulty(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	log := &awaitedLog{text: "napping", written: make(chan struct{})}
	g, err := gateway.Start(ctx, gateway.Options{
		Addr: "127.0.0.1:0", Template: "testdata/template.yaml",
		BuildDir: built.dir, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	inFlight := make(chan answer, 1)
	go func() { inFlight <- send(t, "GET", g.URL()+"/do/nap", "", nil) }()
	<-log.written
	stop() // like Ctrl-C
	pid := echo(t, <-inFlight).PID
	if err := g.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d still runs: %v", pid, err)
	}
}

// HTTP clients open connections in advance.
func TestCloseDoesNotWaitForUnusedConnections(t *testing.T) {
	t.Parallel()
	g := startFaulty(t, gateway.Options{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	// by now the server has accepted both connections
	echo(t, send(t, "GET", g.URL()+"/do/echo", "", nil))
	if err := g.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// awaitedLog closes written when text is logged.
type awaitedLog struct {
	text    string
	written chan struct{}
	once    sync.Once
}

func (l *awaitedLog) Write(line []byte) (int, error) {
	if strings.Contains(string(line), l.text) {
		l.once.Do(func() { close(l.written) })
	}
	return len(line), nil
}
