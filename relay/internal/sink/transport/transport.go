package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

const (
	// defaultRequestTimeout: the SDK's own client has none, so a silent peer would block a message
	// group forever.
	defaultRequestTimeout = 10 * time.Second
	defaultInFlight       = 10

	// maxAnswer is far above the longest answer to a batch of ten (about 5 KB) and to a read of
	// attributes, of which an access policy is the longest (30 KB).
	maxAnswer = 1 << 20

	// writeBuffer holds the whole of a usual request, so that it is written at once and without
	// another copy. Ten events of 300 bytes with three attributes make 7 KB for SQS and 15 KB for
	// SNS.
	writeBuffer = 16 << 10
)

// Client sends requests, for the SDK and for [Caller] alike.
type Client struct {
	transport *http.Transport // nil if the client of cfg is not the SDK's own kind
	do        func(*http.Request) (*http.Response, error)
	// the same, on a connection of the request's own
	dialAndDo func(*http.Request) (*http.Response, error)
	closeIdle func()
	timeout   time.Duration // of a request, to the last byte of its answer

	mu    sync.Mutex
	pools map[string]*pool // by scheme and host
}

// New returns a Client with the certificates, proxy and dialler of cfg's HTTP client, bounded by
// opts. If that already is a Client, New returns it, so that several sinks share their connections.
// A client of another kind than the SDK's own manages its connections itself. Its requests are
// bounded too.
func New(cfg aws.Config, opts sink.Options) *Client {
	if shared, ok := cfg.HTTPClient.(*Client); ok {
		return shared
	}
	c := &Client{closeIdle: func() {}, timeout: cmp.Or(opts.RequestTimeout, defaultRequestTimeout)}
	var buildable *awshttp.BuildableClient
	switch inner := cfg.HTTPClient.(type) {
	case nil:
		buildable = awshttp.NewBuildableClient()
	case *awshttp.BuildableClient:
		buildable = inner
	default:
		c.do, c.dialAndDo = inner.Do, inner.Do
		return c
	}
	// An http.Client would follow redirects, keep cookies and copy headers. SNS and SQS send no
	// redirects, and a signature is valid for one host only.
	transport := buildable.GetTransport()
	transport.MaxIdleConnsPerHost = cmp.Or(opts.InFlight, defaultInFlight)
	transport.WriteBufferSize = writeBuffer
	transport.MaxIdleConns = max(transport.MaxIdleConns, 2*transport.MaxIdleConnsPerHost)
	c.transport, c.do, c.closeIdle = transport, transport.RoundTrip, transport.CloseIdleConnections
	dialing := transport.Clone()
	dialing.DisableKeepAlives = true
	c.dialAndDo = dialing.RoundTrip
	return c
}

// isDirect reports whether requests to u go straight to its host.
func (c *Client) isDirect(u *url.URL) bool {
	if c.transport == nil || c.transport.DialTLSContext != nil {
		return false
	}
	if c.transport.Proxy == nil {
		return true
	}
	proxy, err := c.transport.Proxy(&http.Request{Method: http.MethodPost, URL: u, Host: u.Host, Header: http.Header{}})
	return err == nil && proxy == nil
}

// poolFor returns the connections to the host of u.
func (c *Client) poolFor(u *url.URL) *pool {
	c.mu.Lock()
	defer c.mu.Unlock()
	host := u.Scheme + "://" + u.Host
	if c.pools[host] == nil {
		if c.pools == nil {
			c.pools = map[string]*pool{}
		}
		c.pools[host] = newPool(dialer(c.transport, u), c.transport.MaxIdleConnsPerHost)
	}
	return c.pools[host]
}

// Bound bounds a request of the SDK's client. The time includes fetching credentials, because a
// relay that may publish now may not when they come late.
func (c *Client) Bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.timeout)
}

// DropMixedUp closes the idle connections if err says that an answer belonged to another request.
func (c *Client) DropMixedUp(err error) {
	if sink.Code(err) != sink.CodeUnknownEntry {
		return
	}
	c.closeIdle()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pools {
		p.closeIdle()
	}
}

// Do implements [aws.HTTPClient]. The request ends in time, whether its answer was read or not.
func (c *Client) Do(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), c.timeout)
	r = r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = onlyReader{r.Body}
	}
	return c.send(ctx, cancel, r, nil)
}

// onlyReader hides WriteTo of a request's body. The SDK closes the body as soon as an answer
// begins, while the writer of net/http may still look for bytes after the last one. Read of a
// closed body ends with io.EOF, as a body should. WriteTo of the SDK's body returns io.EOF as an
// error then, and net/http closes the connection while the answer is being read.
type onlyReader struct{ io.ReadCloser }

// send sends r, which ctx bounds until cancel is called: by send, or when the answer's body is
// closed. It calls wrote, if there is one, each time that r's body was read to its end.
func (c *Client) send(
	ctx context.Context,
	cancel context.CancelFunc,
	r *http.Request,
	wrote func(httptrace.WroteRequestInfo),
) (*http.Response, error) {
	var reused atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      func(connection httptrace.GotConnInfo) { reused.Store(connection.Reused) },
		WroteRequest: wrote,
	})
	do := c.do
	if sink.NeedsNewConnection(ctx) {
		do = c.dialAndDo
	}
	answer, err := do(r.WithContext(traced))
	if err != nil {
		closed := reused.Load() && ctx.Err() == nil
		// a network that was cut has cut the other connections too
		if reused.Load() && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			c.closeIdle()
		}
		cancel()
		return nil, c.explain(r, err, closed)
	}
	answer.Body = &boundedBody{ReadCloser: answer.Body, left: maxAnswer, cancel: cancel}
	return answer, nil
}

// explain names the peer in err. If the peer closed an idle connection, the other idle ones are
// probably closed too, so the next request dials.
func (c *Client) explain(r *http.Request, err error, closed bool) error {
	if closed {
		c.closeIdle()
		err = fmt.Errorf("%w: %w", sink.ErrConnectionClosed, err)
	}
	return unanswered(r.URL, err)
}

// boundedBody ends an answer that has no end.
type boundedBody struct {
	io.ReadCloser
	left   int
	cancel context.CancelFunc
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, &sink.Error{
			Origin: sink.OriginTransport,
			Err:    fmt.Errorf("the answer is longer than %d bytes", maxAnswer),
		}
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	if err != nil && err != io.EOF {
		err = &sink.Error{Origin: sink.OriginTransport, Err: fmt.Errorf("read the answer: %w", err)}
	}
	return n, err
}

func (b *boundedBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel()
	return err
}
