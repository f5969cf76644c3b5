package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/outbox-relay/outbox-relay/localstack/run/gateway"
	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// built has the binaries that the tests share.
var built struct {
	dir    string
	faulty func() error // builds the faulty function into dir
	orders func() error
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gateway")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	built.dir = dir
	built.faulty = sync.OnceValue(func() error {
		return tool("go", "build", "-tags", "lambda.norpc", "-o", filepath.Join(dir, "Faulty", "bootstrap"),
			"./testdata/faulty")
	})
	built.orders = sync.OnceValue(func() error {
		migrate := tool("go", "build", "-o", filepath.Join(dir, "migrate"), "../../../functions/migrate")
		if migrate != nil {
			return migrate
		}
		return gateway.Build(context.Background(), template, dir, os.Stderr)
	})
	return pgtest.Run(m)
}

func tool(name string, args ...string) error {
	if output, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, args, err, output)
	}
	return nil
}

// template is the template of this project.
const template = "../../../template.yaml"

// start serves until the test ends, and logs to the test.
func start(t *testing.T, options gateway.Options) *gateway.Gateway {
	t.Helper()
	options.Addr, options.BuildDir, options.Log = "127.0.0.1:0", built.dir, t.Output()
	g, err := gateway.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return g
}

func startFaulty(t *testing.T, options gateway.Options) *gateway.Gateway {
	t.Helper()
	if err := built.faulty(); err != nil {
		t.Fatal(err)
	}
	options.Template = "testdata/template.yaml"
	return start(t, options)
}

type answer struct {
	status int
	header http.Header
	body   string
}

func send(t *testing.T, method, url, body string, header http.Header) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

// echoed is the answer of the function with its input.
type echoed struct {
	Event      events.APIGatewayProxyRequest
	PID        int
	Left       float64
	Trace      string
	ARN        string
	Invocation string
	Env        []string
}

func echo(t *testing.T, a answer) echoed {
	t.Helper()
	var e echoed
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != http.StatusOK {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return e
}
