package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// maxIdle is how long a connection is kept without a request, as the SDK's own client does.
const maxIdle = 90 * time.Second

// pool keeps the connections to one service. The connection that served last serves next, so that
// surplus ones become idle.
type pool struct {
	dial func(ctx context.Context) (net.Conn, error)
	most int // maximum number of idle connections

	mu     sync.Mutex
	idle   []*connection // the longest idle first
	reaper *time.Timer
}

func newPool(dial func(ctx context.Context) (net.Conn, error), most int) *pool {
	p := &pool{dial: dial, most: most}
	p.reaper = time.AfterFunc(maxIdle, p.reap)
	return p
}

// get returns a connection for ctx until deadline. It dials if none is idle or if ctx requires a
// new one. A connection that the broker has closed is not used. Neither is one on which the broker
// has sent bytes that answer no request, because they would be read as the next answer.
func (p *pool) get(ctx context.Context, deadline time.Time) (*connection, error) {
	for c := p.take(ctx); c != nil; c = p.take(ctx) {
		if c.follow(ctx) && c.probe.isOpen() {
			return c, nil
		}
		c.close()
	}
	conn, err := p.dialUntil(ctx, deadline)
	if err != nil {
		return nil, err
	}
	c := newConnection(conn)
	c.follow(ctx)
	return c, nil
}

func (p *pool) dialUntil(ctx context.Context, deadline time.Time) (net.Conn, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	conn, err := p.dial(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err() // the dialler has a long text for the same
	}
	return conn, err
}

// take returns the idle connection that served last, or nil if there is none or ctx requires a new
// one.
func (p *pool) take(ctx context.Context) *connection {
	if sink.NeedsNewConnection(ctx) {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	if last < 0 {
		return nil
	}
	c := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	return c
}

// put returns a connection that may carry another request to the pool.
func (p *pool) put(c *connection) {
	c.idleAt = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) >= p.most {
		c.close()
		return
	}
	if p.idle = append(p.idle, c); len(p.idle) == 1 {
		p.reaper.Reset(maxIdle)
	}
}

// distrust closes the connections that were last answered before begin, when a request began on
// another one and timed out. A network that was cut silently has cut them too, and each would cost
// a request its time.
func (p *pool) distrust(begin time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	trusted := slices.IndexFunc(p.idle, func(c *connection) bool { return c.idleAt.After(begin) })
	if trusted < 0 {
		trusted = len(p.idle)
	}
	p.closeFirst(trusted)
}

// closeIdle closes the connections that are idle.
func (p *pool) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closeFirst(len(p.idle))
}

// reap closes the connections that have been idle for too long.
func (p *pool) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	since := time.Now().Add(-maxIdle)
	young := slices.IndexFunc(p.idle, func(c *connection) bool { return c.idleAt.After(since) })
	if young < 0 {
		young = len(p.idle)
	}
	if p.closeFirst(young); len(p.idle) > 0 {
		p.reaper.Reset(maxIdle - time.Since(p.idle[0].idleAt))
	}
}

// closeFirst closes the first n idle connections. p.mu is held.
func (p *pool) closeFirst(n int) {
	for _, c := range p.idle[:n] {
		c.close()
	}
	p.idle = slices.Delete(p.idle, 0, n)
}

// dialer returns a function that connects to the host of u as transport would, with its
// certificates. The end of ctx ends each step.
func dialer(transport *http.Transport, u *url.URL) func(ctx context.Context) (net.Conn, error) {
	port := cmp.Or(u.Port(), map[string]string{"https": "443", "http": "80"}[u.Scheme])
	address := net.JoinHostPort(u.Hostname(), port)
	dial := transport.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	if u.Scheme != "https" {
		return func(ctx context.Context) (net.Conn, error) { return dial(ctx, "tcp", address) }
	}
	config := &tls.Config{}
	if transport.TLSClientConfig != nil {
		config = transport.TLSClientConfig.Clone()
	}
	host, _, _ := strings.Cut(u.Hostname(), "%")
	config.ServerName = cmp.Or(config.ServerName, host)
	config.NextProtos = []string{"http/1.1"}
	// a new connection resumes the TLS session of an earlier one
	if config.ClientSessionCache == nil {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		secured := tls.Client(conn, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("TLS with %s: %w", u.Hostname(), err)
		}
		return secured, nil
	}
}
