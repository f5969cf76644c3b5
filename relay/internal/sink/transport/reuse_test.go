package transport_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// listen starts a server that serves each connection with serve, and counts them. They stay open
// until the test ends.
func listen(t *testing.T, serve func(net.Conn)) (url string, connections *atomic.Int32) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connections = new(atomic.Int32)
	var serving sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			t.Cleanup(func() { _ = conn.Close() })
			serving.Go(func() { serve(conn) })
		}
	})
	return "http://" + listener.Addr().String(), connections
}

// TestAConnectionThatEndsIsNotUsedAgain, although the server leaves it open.
func TestAConnectionThatEndsIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		head string
		want int32 // connections for three requests
	}{
		"kept":        {"HTTP/1.1 200 OK\r\n", 1},
		"closed":      {"HTTP/1.1 200 OK\r\nConnection: Close\r\n", 3},
		"of HTTP/1.0": {"HTTP/1.0 200 OK\r\n", 3},
		"switched":    {"HTTP/1.1 101 Switching Protocols\r\n", 3},
		"with a tail": {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 ", 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, connections := listen(t,
				func(conn net.Conn) { converse(conn, c.head+"Content-Length: 0\r\n\r\n", false) })
			caller := newCallerWith(t, aws.Config{}, server, requestTimeout)
			for range 3 {
				if _, err := post(t.Context(), caller, "a question"); err != nil {
					t.Error(err)
				}
			}
			if n := connections.Load(); n != c.want {
				t.Errorf("%d connections, want %d", n, c.want)
			}
		})
	}
}

// TestAnEarlyAnswerIsRead while the rest of a request that the server does not read is being
// written. The connection is not used again.
func TestAnEarlyAnswerIsRead(t *testing.T) {
	t.Parallel()
	carriers(t, func(t *testing.T, cfg aws.Config) {
		server, connections := listen(t, func(conn net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 9\r\n\r\ntoo large")
		})
		caller := newCallerWith(t, cfg, server, requestTimeout)
		for range 2 {
			begin := time.Now()
			got, err := post(t.Context(), caller, strings.Repeat("x", 8<<20))
			if took := time.Since(begin); err != nil || got != "413 too large" || took >= requestTimeout {
				t.Errorf("%q, %v after %v", got, err, took)
			}
		}
		if n := connections.Load(); n != 2 {
			t.Errorf("%d connections for two requests that were not written whole", n)
		}
	})
}

// TestACutNetworkCostsOneTimeout: a firewall forgets 20 idle connections, without a notice to
// either end.
func TestACutNetworkCostsOneTimeout(t *testing.T) {
	t.Parallel()
	carriers := map[string]aws.Config{"own connections": {}, "net/http": {HTTPClient: throughNetHTTP()}}
	for name, cfg := range carriers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var cut atomic.Bool
			var together sync.WaitGroup
			server, connections := listen(t, func(conn net.Conn) {
				old := !cut.Load()
				for reader := bufio.NewReader(conn); ; {
					request, err := http.ReadRequest(reader)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, request.Body)
					if old && cut.Load() {
						continue // no answer
					}
					if old {
						together.Done()
						together.Wait()
					}
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			})
			caller := newCallerWith(t, cfg, server, time.Second)
			const kept = 20
			together.Add(kept)
			var requests sync.WaitGroup
			for range kept {
				requests.Go(func() {
					if _, err := post(t.Context(), caller, "x"); err != nil {
						t.Error(err)
					}
				})
			}
			requests.Wait()
			cut.Store(true)
			failed := 0
			for range kept {
				if _, err := post(t.Context(), caller, "x"); err != nil {
					failed++
				}
			}
			if n := connections.Load(); failed != 1 || n != kept+1 {
				t.Errorf("%d requests failed over %d connections, want 1 and %d", failed, n, kept+1)
			}
		})
	}
}

// throughNetHTTP makes requests use net/http, which has the connections of the relay's client.
func throughNetHTTP() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		dial := t.DialContext
		// never called for http, but it prevents connections of the relay's own
		t.DialTLSContext = dial
	})
}

// TestANewConnectionResumesItsTLSSession, which spares both sides half of a handshake.
func TestANewConnectionResumesItsTLSSession(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		fmt.Fprint(w, r.TLS.DidResume)
	}))
	server.StartTLS()
	t.Cleanup(server.Close)
	cfg := aws.Config{HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.TLSClientConfig = &tls.Config{
			RootCAs:    server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs,
			MinVersion: tls.VersionTLS12,
		}
	})}
	caller := newCallerWith(t, cfg, server.URL, requestTimeout)
	for _, want := range []string{"200 false", "200 true"} {
		if got, err := post(t.Context(), caller, "x"); err != nil || got != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
}
