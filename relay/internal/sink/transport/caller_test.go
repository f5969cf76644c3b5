package transport_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
	"github.com/outbox-relay/outbox-relay/relay/internal/sink/transport"
)

// requestTimeout is far longer than an answer takes, and short enough to wait for.
const requestTimeout = 5 * time.Second

func newCaller(t *testing.T, server string, change ...func(*transport.Endpoint)) *transport.Caller {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := transport.Endpoint{
		URL: *u, Service: "sqs", Region: "eu-central-1", Header: http.Header{"Content-Type": {"text/plain"}},
		Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", "token"),
	}
	for _, f := range change {
		f(&endpoint)
	}
	return transport.NewCaller(
		transport.New(aws.Config{}, sink.Options{InFlight: 20, RequestTimeout: requestTimeout}), endpoint)
}

// post sends body and returns the answer as a text.
func post(ctx context.Context, c *transport.Caller, body string) (string, error) {
	request := transport.NewRequest()
	request.Text = append(request.Text, body...)
	answer, err := c.Post(ctx, request)
	if err != nil {
		return "", err
	}
	defer answer.Release()
	return fmt.Sprintf("%d %s", answer.Status, answer.Body), nil
}

func TestARequestSaysWhoItIsFrom(t *testing.T) {
	t.Parallel()
	server, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %q agent %q token %q signed %t %s", r.Method, r.URL, body, r.UserAgent(),
			r.Header.Get("X-Amz-Security-Token"), r.Header.Get("Authorization") != "", r.Header.Get("Content-Type"))
	})
	for name, c := range map[string]struct {
		change func(*transport.Endpoint)
		want   string
	}{
		"usual": {
			func(*transport.Endpoint) {},
			`200 POST / "hello" agent "outbox-relay aws-sdk-go-v2/` + aws.SDKVersion +
				`" token "token" signed true text/plain`,
		},
		"app id": {
			func(e *transport.Endpoint) { e.AppID = "shop" },
			`200 POST / "hello" agent "outbox-relay aws-sdk-go-v2/` + aws.SDKVersion +
				` app/shop" token "token" signed true text/plain`,
		},
		"path": {
			func(e *transport.Endpoint) { e.URL.Path = "/aws" },
			`200 POST /aws "hello" agent "outbox-relay aws-sdk-go-v2/` + aws.SDKVersion +
				`" token "token" signed true text/plain`,
		},
		"a head that is longer than usual": {
			func(e *transport.Endpoint) {
				e.Credentials = credentials.NewStaticCredentialsProvider("AKID", "secret", strings.Repeat("long", 1500))
			},
			`200 POST / "hello" agent "outbox-relay aws-sdk-go-v2/` + aws.SDKVersion + `" token "` +
				strings.Repeat("long", 1500) + `" signed true text/plain`,
		},
		"no account": {
			func(e *transport.Endpoint) { e.Credentials = nil },
			`200 POST / "hello" agent "outbox-relay aws-sdk-go-v2/` + aws.SDKVersion +
				`" token "" signed false text/plain`,
		},
	} {
		got, err := post(t.Context(), newCaller(t, server, c.change), "hello")
		if err != nil || got != c.want {
			t.Errorf("%s: %s, %v\nwant %s", name, got, err, c.want)
		}
	}
}

func TestCallersOfOneClientShareTheConnectionsToAHost(t *testing.T) {
	t.Parallel()
	server, connections := serve(t, func(http.ResponseWriter, *http.Request) {})
	shared := transport.New(aws.Config{}, sink.Options{})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		client := transport.New(aws.Config{HTTPClient: shared}, sink.Options{})
		if client != shared {
			t.Error("a client of its own")
		}
		if _, err := post(t.Context(),
			transport.NewCaller(client, transport.Endpoint{URL: *u, Header: http.Header{}}), "x"); err != nil {
			t.Error(err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestABodyIsNotUsedAgainWhileItIsWritten: the server answers before it has read the request, so
// the writer of one request still runs when the next one begins.
func TestABodyIsNotUsedAgainWhileItIsWritten(t *testing.T) {
	t.Parallel()
	server, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if err := control.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		_ = control.Flush()
		body, err := io.ReadAll(r.Body)
		if err == nil && len(bytes.Trim(body, string(body[:1]))) > 0 {
			t.Error("a body holds bytes of another one")
		}
	})
	caller := newCaller(t, server)
	var senders sync.WaitGroup
	for i := range 8 {
		senders.Go(func() {
			for range 10 {
				if _, err := post(t.Context(), caller, strings.Repeat(string(rune('a'+i)), 200<<10)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	senders.Wait()
}

// TestAWrongClockIsCorrected: the service reports its time, and the next signature is right.
func TestAWrongClockIsCorrected(t *testing.T) {
	t.Parallel()
	const ahead = 3 * time.Hour
	var cached atomic.Bool
	server, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		now := time.Now().Add(ahead)
		w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		if cached.Load() {
			w.Header().Set("Date", "Mon, 02 Jan 2006 15:04:05 GMT")
			w.Header().Set("Age", "7")
		}
		signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if off := now.Sub(signed).Abs(); err != nil || off > 5*time.Minute {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	expect := func(caller *transport.Caller, want string) {
		t.Helper()
		if got, err := post(t.Context(), caller, "x"); err != nil || got != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	caller := newCaller(t, server)
	expect(caller, "403 ")
	expect(caller, "200 ")
	cached.Store(true) // an answer from a cache has an old date
	expect(caller, "200 ")
	expect(caller, "200 ")
	cached.Store(false)

	ignoring := newCaller(t, server, func(e *transport.Endpoint) { e.IgnoreClockSkew = true })
	expect(ignoring, "403 ")
	expect(ignoring, "403 ")
}

// silent never returns credentials.
type silent struct{}

func (silent) Retrieve(ctx context.Context) (aws.Credentials, error) {
	<-ctx.Done()
	return aws.Credentials{}, ctx.Err()
}

func TestRequestTimeoutCoversFetchingCredentials(t *testing.T) {
	t.Parallel()
	caller := newCaller(t, "http://127.0.0.1:1", func(e *transport.Endpoint) { e.Credentials = silent{} })
	if _, err := post(t.Context(), caller, "x"); sink.Code(err) != "timeout" {
		t.Errorf("%v, want a timeout", err)
	}
}

// provider counts its calls.
type provider struct{ asked atomic.Int32 }

func (p *provider) Retrieve(context.Context) (aws.Credentials, error) {
	n := p.asked.Add(1)
	if n > 2 {
		return aws.Credentials{}, errors.New("no role")
	}
	return aws.Credentials{
		AccessKeyID:     fmt.Sprint("AKID", n),
		SecretAccessKey: "secret",
		CanExpire:       true,
		Expires:         time.Now().Add(time.Hour),
	}, nil
}

func TestCredentialsAreFetchedOnceUntilTheyExpire(t *testing.T) {
	t.Parallel()
	var refuse atomic.Bool
	server, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if refuse.Swap(false) {
			w.WriteHeader(http.StatusForbidden)
		}
		_, id, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
		id, _, _ = strings.Cut(id, "/")
		_, _ = io.WriteString(w, id)
	})
	source := &provider{}
	cache := aws.NewCredentialsCache(source)
	caller := newCaller(t, server, func(e *transport.Endpoint) { e.Credentials = cache })
	expect := func(want string) {
		t.Helper()
		if got, err := post(t.Context(), caller, "x"); err != nil || got != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	expect("200 AKID1")
	expect("200 AKID1")
	refuse.Store(true)
	expect("403 AKID1")
	refused := func(status int, code string) {
		_ = caller.Answered(&transport.Answer{Status: status}, sink.RequestError(status, code, "", nil))
	}
	refused(400, "ThrottlingException")
	expect("200 AKID1")
	refuse.Store(true)
	expect("403 AKID1")
	refused(403, "ExpiredToken")
	expect("200 AKID2")
	refuse.Store(true)
	expect("403 AKID2")
	refused(403, "ExpiredTokenException")
	if _, err := post(t.Context(), caller, "x"); err == nil || !strings.Contains(err.Error(), "no role") {
		t.Errorf("%v, want what the provider says", err)
	}
}
