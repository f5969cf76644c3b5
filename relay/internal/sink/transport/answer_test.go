package transport_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

// foreign is an HTTP client of another kind than the SDK's own. A Caller sends through it.
type foreign struct{ http.Client }

// carriers are the two ways of a request: over connections of the Caller's own, and through
// net/http. Both pass the same tests.
func carriers(t *testing.T, test func(t *testing.T, cfg aws.Config)) {
	t.Helper()
	for name, cfg := range map[string]aws.Config{"own connections": {}, "net/http": {HTTPClient: &foreign{}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, cfg)
		})
	}
}

func newCallerWith(t *testing.T, cfg aws.Config, server string, timeout time.Duration) *transport.Caller {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	return transport.NewCaller(
		transport.New(cfg, sink.Options{InFlight: 64, RequestTimeout: timeout}),
		transport.Endpoint{
			URL: *u, Service: "sqs", Region: "eu-central-1", Header: http.Header{"Content-Type": {"text/plain"}},
			Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
		},
	)
}

// speak starts a server that reads a request, writes words, and then closes the connection if
// hangUp is set.
func speak(t *testing.T, words string, hangUp bool) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			serving.Go(func() { converse(conn, words, hangUp) })
		}
	})
	return "http://" + listener.Addr().String()
}

func converse(conn net.Conn, words string, hangUp bool) {
	for reader := bufio.NewReader(conn); ; {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, request.Body)
		if _, err := io.WriteString(conn, words); err != nil || hangUp {
			_ = conn.Close()
			return
		}
	}
}

// compressed returns an answer with this body, compressed, without so many bytes of its end.
func compressed(body string, lost int) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(body)) // a buffer accepts all bytes
	_ = w.Close()
	b.Truncate(b.Len() - lost)
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", b.Len(), b.String())
}

func TestEveryKindOfAnswerIsRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		words  string
		hangUp bool
		want   string // empty: an error
	}{
		"with a length":     {words: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", want: "200 hello"},
		"names in any case": {words: "HTTP/1.1 200 OK\r\ncOnTeNt-LeNgTh:5\r\n\r\nhello", want: "200 hello"},
		"without a reason":  {words: "HTTP/1.1 503 \r\nContent-Length: 0\r\n\r\n", want: "503 "},
		"in chunks": {
			words: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;part=1\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
			want:  "200 hello",
		},
		"in chunks, with trailers": {
			words: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n5\r\nhello\r\n0\r\n" +
				"Sum: 1\r\n\r\n",
			want: "200 hello",
		},
		"up to the end": {words: "HTTP/1.1 200 OK\r\n\r\nhello", hangUp: true, want: "200 hello"},
		"of HTTP/1.0": {
			words: "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", hangUp: true,
			want: "200 hello",
		},
		"and hung up": {
			words:  "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
			hangUp: true, want: "200 hello",
		},
		"without a body": {words: "HTTP/1.1 204 No Content\r\n\r\n", want: "204 "},
		"after interim answers": {
			words: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" +
				"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
			want: "200 hello",
		},
		"with a long line": {words: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 900_000) +
			"\r\nContent-Length: 5\r\n\r\nhello", want: "200 hello"},
		"with many lines": {words: "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: x\r\n", 20_000) +
			"Content-Length: 5\r\n\r\nhello", want: "200 hello"},
		"in two encodings": {
			words: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" +
				"hello\r\n0\r\n\r\n",
			hangUp: true,
		},
		"not HTTP":               {words: "SSH-2.0-OpenSSH_9.2\r\n\r\n", hangUp: true},
		"none":                   {hangUp: true},
		"broken off in the head": {words: "HTTP/1.1 200 OK\r\nContent-Le", hangUp: true},
		"broken off in the body": {words: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", hangUp: true},
		"broken off in a chunk": {
			words:  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
			hangUp: true,
		},
		"of a strange length": {words: "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", hangUp: true},
		"of two lengths": {
			words:  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 4\r\n\r\nhello",
			hangUp: true,
		},
		"with a line that is none": {
			words:  "HTTP/1.1 200 OK\r\nhello\r\nContent-Length: 5\r\n\r\nhello",
			hangUp: true,
		},
		"in a strange encoding": {words: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello", hangUp: true},
		"too long": {words: "HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" +
			strings.Repeat("x", 2_000_000), hangUp: true},
		"too long, in one chunk": {words: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1E8480\r\n" +
			strings.Repeat("x", 2_000_000) + "\r\n0\r\n\r\n"},
		"too long, up to the end": {words: "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", 2_000_000), hangUp: true},
		"compressed":              {words: compressed("hello", 0), want: "200 hello"},
		"compressed, in any case": {
			words: strings.Replace(compressed("hello", 0), "Content-Encoding: gzip", "content-encoding:GZIP ", 1),
			want:  "200 hello",
		},
		"compressed, and empty": {
			words: "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
			want:  "200 ",
		},
		"called compressed": {
			words: "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
		},
		"compressed, broken off": {words: compressed("hello", 5)},
		"compressed, too long":   {words: compressed(strings.Repeat("x", 2_000_000), 0)},
		"of many bytes, not of too": {words: "HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" +
			strings.Repeat("x", 500_000), want: "200 " + strings.Repeat("x", 500_000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := speak(t, c.words, c.hangUp)
			carriers(t, func(t *testing.T, cfg aws.Config) {
				caller := newCallerWith(t, cfg, server, requestTimeout)
				for range 3 { // the rest of one answer is not read as the next
					got, err := post(t.Context(), caller, "a question")
					if got != c.want || (err == nil) != (c.want != "") {
						t.Errorf("%.100q, %v", got, err)
					}
				}
			})
		})
	}
}

// TestAHeadIsReadUpToABound is for the Caller's own connections: net/http has a bound of its own.
func TestAHeadIsReadUpToABound(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"a long line": "X: " + strings.Repeat("x", 11<<20),
		"many lines":  strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 11<<10),
	} {
		server := speak(t, "HTTP/1.1 200 OK\r\n"+head+"\r\n\r\n", false)
		_, err := post(t.Context(), newCallerWith(t, aws.Config{}, server, requestTimeout), "a question")
		if err == nil || !strings.Contains(err.Error(), "longer than") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestARequestEndsInItsTimeWhereverItHangs(t *testing.T) {
	t.Parallel()
	const timeout = 200 * time.Millisecond
	for name, words := range map[string]string{
		"before the answer": "",
		"in the head":       "HTTP/1.1 200 OK\r\nContent-",
		"in the body":       "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
		"in a chunk":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
	} {
		server := speak(t, words, false)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			carriers(t, func(t *testing.T, cfg aws.Config) {
				began := time.Now()
				_, err := post(t.Context(), newCallerWith(t, cfg, server, timeout), "a question")
				if took := time.Since(began); sink.Code(err) != "timeout" || errors.Is(err, sink.ErrConnectionClosed) ||
					took < timeout ||
					took > requestTimeout {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
	t.Run("in TLS", func(t *testing.T) {
		t.Parallel()
		server := strings.Replace(speak(t, "", false), "http:", "https:", 1)
		if _, err := post(t.Context(), newCallerWith(t, aws.Config{}, server, timeout), "a question"); sink.Code(
			err) != "timeout" {
			t.Errorf("%v", err)
		}
	})
}

// TestTheEndOfItsContextEndsARequest, and no later one on the same connection.
func TestTheEndOfItsContextEndsARequest(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	var calls sync.WaitGroup
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); string(body) == "hang" {
			calls.Done()
			<-hang
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(hang) })
	caller := newCallerWith(t, aws.Config{}, server.URL, requestTimeout)
	for round := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		if got, err := post(ctx, caller, "answer"); got != "200 " {
			t.Fatalf("round %d: %q, %v", round, got, err)
		}
		calls.Add(1)
		ended := make(chan error)
		go func() {
			_, err := post(ctx, caller, "hang")
			ended <- err
		}()
		calls.Wait()
		cancel()
		if err := <-ended; sink.Code(err) != "canceled" || errors.Is(err, sink.ErrConnectionClosed) {
			t.Errorf("round %d: %v", round, err)
		}
	}
}

func TestClosedIdleConnectionIsNotReused(t *testing.T) {
	t.Parallel()
	carriers(t, func(t *testing.T, cfg aws.Config) {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		server.Config.IdleTimeout = 100 * time.Millisecond
		closed := make(chan struct{}, 10)
		server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				closed <- struct{}{}
			}
		}
		server.Start()
		t.Cleanup(server.Close)
		caller := newCallerWith(t, cfg, server.URL, requestTimeout)
		for range 2 {
			got, err := post(t.Context(), caller, "x")
			// net/http reads the end in the background, on a busy machine after the next request
			for cfg.HTTPClient != nil && errors.Is(err, sink.ErrConnectionClosed) {
				got, err = post(t.Context(), caller, "x")
			}
			if got != "200 " {
				t.Fatalf("%q, %v", got, err)
			}
			<-closed
		}
	})
}

// TestWhatNobodyAskedForIsNoAnswer: bytes that answer no request are no answer, neither right after
// an answer nor a moment later.
func TestWhatNobodyAskedForIsNoAnswer(t *testing.T) {
	t.Parallel()
	for name, pause := range map[string]time.Duration{"at once": 0, "later": 50 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = listener.Close() })
			var requests atomic.Int32
			written := make(chan struct{}, 10)
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					t.Cleanup(func() { _ = conn.Close() })
					go func() {
						for reader := bufio.NewReader(conn); ; {
							request, err := http.ReadRequest(reader)
							if err != nil {
								return
							}
							_, _ = io.Copy(io.Discard, request.Body)
							answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", requests.Add(1))
							if pause == 0 {
								answer += "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
							}
							_, _ = io.WriteString(conn, answer)
							if pause > 0 {
								time.Sleep(pause)
								_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
							}
							written <- struct{}{}
						}
					}()
				}
			}()
			caller := newCallerWith(t, aws.Config{}, "http://"+listener.Addr().String(), requestTimeout)
			for n := range 3 {
				if got, err := post(t.Context(), caller, "a question"); got != fmt.Sprint("200 ", n+1) {
					t.Errorf("question %d: %q, %v", n+1, got, err)
				}
				<-written // before the next question
			}
		})
	}
}

func TestManySendersGetTheirOwnAnswers(t *testing.T) {
	t.Parallel()
	server, connections := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	})
	const senders, each = 64, 50
	caller := newCallerWith(t, aws.Config{}, server, requestTimeout)
	var sending sync.WaitGroup
	for sender := range senders {
		sending.Go(func() {
			for n := range each {
				text := fmt.Sprintf("%d %d %s", sender, n, strings.Repeat("x", n*100))
				if got, err := post(t.Context(), caller, text); got != "200 "+text {
					t.Errorf("sent %.20q, got %.20q, %v", text, got, err)
				}
			}
		})
	}
	sending.Wait()
	if n := connections.Load(); n > 2*senders {
		t.Errorf("%d connections for %d senders", n, senders)
	}
}

// TestALargeRequestArrivesWhole: also one that does not fit one write.
func TestALargeRequestArrivesWhole(t *testing.T) {
	t.Parallel()
	server, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprint(w, len(body), err)
	})
	carriers(t, func(t *testing.T, cfg aws.Config) {
		if got, err := post(t.Context(), newCallerWith(t, cfg, server, requestTimeout),
			strings.Repeat("x", 1<<20)); got != "200 1048576 <nil>" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestAnAnswerThatComesBeforeTheRequestIsReadCounts(t *testing.T) {
	t.Parallel()
	server, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_ = control.Flush()
		_, _ = io.Copy(io.Discard, r.Body)
	})
	carriers(t, func(t *testing.T, cfg aws.Config) {
		if got, err := post(t.Context(), newCallerWith(t, cfg, server, requestTimeout),
			strings.Repeat("x", 1<<20)); got != "413 " {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestTheCertificateOfTheServiceIsVerified(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%t", r.TLS.DidResume)
	}))
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	for name, c := range map[string]struct {
		host   string
		change func(*tls.Config)
		want   string // of the answer, or of the error
	}{
		"its authority is known": {"example.com", func(c *tls.Config) { c.RootCAs = roots }, "200 false"},
		"its authority is not":   {"example.com", func(*tls.Config) {}, "unknown authority"},
		"it is of another host":  {"sqs.example.org", func(c *tls.Config) { c.RootCAs = roots }, "not sqs.example.org"},
		"it has expired": {"example.com", func(c *tls.Config) {
			c.RootCAs, c.Time = roots, func() time.Time { return time.Now().AddDate(200, 0, 0) }
		}, "expired"},
		"a newer version is wanted": {
			"example.com",
			func(c *tls.Config) { c.RootCAs, c.MinVersion = roots, tls.VersionTLS13+1 }, "no supported versions",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := aws.Config{HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
				c.change(tr.TLSClientConfig)
				tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
				}
			})}
			got, err := post(t.Context(), newCallerWith(t, cfg, "https://"+c.host, requestTimeout), "x")
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestAHostMayBeAnIPv6Address(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6")
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) }),
	}
	t.Cleanup(func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }()
	address := listener.Addr().String()
	carriers(t, func(t *testing.T, cfg aws.Config) {
		if got, err := post(t.Context(), newCallerWith(t, cfg, "http://"+address, requestTimeout),
			"x"); got != "200 "+address {
			t.Errorf("%q, %v", got, err)
		}
	})
}
