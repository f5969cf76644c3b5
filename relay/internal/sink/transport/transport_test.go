package transport_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

// serve starts a server and counts the connections that are made to it.
func serve(t *testing.T, handler http.HandlerFunc) (url string, connections *atomic.Int32) {
	t.Helper()
	connections = new(atomic.Int32)
	server := httptest.NewUnstartedServer(handler)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	return server.URL, connections
}

func get(ctx context.Context, client aws.HTTPClient, url string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(answer.Body)
	return len(body), errors.Join(err, answer.Body.Close())
}

// TestRequestsInFlightKeepTheirConnections: without room for so many idle ones, each round would
// dial again.
func TestRequestsInFlightKeepTheirConnections(t *testing.T) {
	t.Parallel()
	const inFlight = 40
	var arrived sync.WaitGroup
	url, connections := serve(t, func(http.ResponseWriter, *http.Request) {
		arrived.Done()
		arrived.Wait() // all of them are in flight at the same time
	})
	client := transport.New(aws.Config{}, sink.Options{InFlight: inFlight})
	for range 3 {
		var requests sync.WaitGroup
		arrived.Add(inFlight)
		for range inFlight {
			requests.Go(func() {
				if _, err := get(t.Context(), client, url); err != nil {
					t.Error(err)
				}
			})
		}
		requests.Wait()
	}
	// A connection that is returned a moment too late is dialled again, which does no harm.
	if n := connections.Load(); n > inFlight+inFlight/4 {
		t.Errorf("%d connections for %d requests in flight", n, inFlight)
	}
}

func TestARequestEndsInItsTime(t *testing.T) {
	t.Parallel()
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("a part"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	client := transport.New(aws.Config{}, sink.Options{RequestTimeout: 50 * time.Millisecond})
	if _, err := get(t.Context(), client, url); sink.Code(err) != "timeout" {
		t.Errorf("%v (code %q), want a timeout", err, sink.Code(err))
	}
}

func TestAnAnswerIsReadUpToABound(t *testing.T) {
	t.Parallel()
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		part := bytes.Repeat([]byte("x"), 1<<16)
		for range 1 << 10 {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	})
	n, err := get(t.Context(), transport.New(aws.Config{}, sink.Options{}), url)
	if err == nil || n != 1<<20 {
		t.Errorf("read %d bytes of an answer of 64 MiB, %v", n, err)
	}
}

func TestAClientOfItsOwnIsKept(t *testing.T) {
	t.Parallel()
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("answer")) })
	own := &counting{}
	n, err := get(t.Context(), transport.New(aws.Config{HTTPClient: own}, sink.Options{}), url)
	if err != nil || n != len("answer") || own.requests != 1 {
		t.Errorf("read %d bytes, %v, %d requests by the client of cfg", n, err, own.requests)
	}
}

type counting struct{ requests int }

func (c *counting) Do(r *http.Request) (*http.Response, error) {
	c.requests++
	return http.DefaultClient.Do(r)
}

// TestAConnectionThatWasClosedWhileItWasKeptIsNamed: no byte was answered on a connection that had
// served before. On a new connection the same is a fault of the destination, and so is an answer
// that breaks off.
func TestAConnectionThatWasClosedWhileItWasKeptIsNamed(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	url, connections := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch requests.Add(1) {
		case 2, 3: // the second on the first connection, the first on another
			panic(http.ErrAbortHandler)
		case 5:
			_, _ = w.Write([]byte("a part"))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case 7:
			<-r.Context().Done()
		}
	})
	client := transport.New(aws.Config{}, sink.Options{RequestTimeout: time.Second})
	for request, want := range []struct {
		code   string
		closed bool
	}{{}, {"network", true}, {"network", false}, {}, {"network", false}, {}, {"timeout", false}} {
		_, err := get(t.Context(), client, url)
		if sink.Code(err) != want.code || errors.Is(err, sink.ErrConnectionClosed) != want.closed {
			t.Errorf("request %d: %v", request+1, err)
		}
	}
	if n := connections.Load(); n != 4 {
		t.Errorf("%d connections, want 4", n)
	}
}

// TestBodyClosedEarlyFailsNoRequest: the SDK closes a request's body when the answer begins. The
// writer of net/http may not have seen the end of the body by then, and must not count the closed
// body as a failed request.
func TestBodyClosedEarlyFailsNoRequest(t *testing.T) {
	t.Parallel()
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, r.ContentLength)
		_, _ = io.WriteString(w, "accepted")
	})
	wrote := make(chan error, 1)
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		WroteRequest: func(info httptrace.WroteRequestInfo) { wrote <- info.Err },
	})
	body := &lateBody{left: strings.NewReader("message"), closed: make(chan struct{})}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	request.ContentLength = body.left.Size()
	answer, err := transport.New(aws.Config{}, sink.Options{}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	_ = body.Close()
	if err := <-wrote; err != nil {
		t.Errorf("the body was sent whole and closed then: %v", err)
	}
	if text, err := io.ReadAll(answer.Body); string(text) != "accepted" || err != nil {
		t.Errorf("the answer is %q, %v", text, err)
	}
}

// lateBody behaves as a body of the SDK, and net/http reads behind its last byte only after it was
// closed.
type lateBody struct {
	left   *strings.Reader
	closed chan struct{}
	close  sync.Once
}

func (b *lateBody) Read(p []byte) (int, error) {
	if b.left.Len() == 0 {
		<-b.closed
	}
	return b.left.Read(p)
}

func (b *lateBody) WriteTo(io.Writer) (int64, error) {
	<-b.closed
	return 0, io.EOF
}

func (b *lateBody) Close() error {
	b.close.Do(func() { close(b.closed) })
	return nil
}
