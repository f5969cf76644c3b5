package chaos

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// terminator ends TLS in front of a server without it. What happens to a connection behind it
// happens to the one in front of it.
type terminator struct {
	listener net.Listener
	target   string
	config   *tls.Config
	accepted atomic.Int64
	wait     sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
}

// newTerminator serves TLS for the server at target, a host and a port. The caller must close it.
func newTerminator(target string, keys pgtest.KeyPair) (*terminator, error) {
	pair, err := tls.X509KeyPair(keys.Certificate, keys.Key)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &terminator{
		listener: listener, target: target, open: map[net.Conn]struct{}{},
		config: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
	}
	t.wait.Go(t.accept)
	return t, nil
}

// URL is the address for clients.
func (t *terminator) URL() string { return "https://" + t.listener.Addr().String() }

func (t *terminator) accept() {
	for {
		client, err := t.listener.Accept()
		if err != nil {
			return
		}
		t.accepted.Add(1)
		t.wait.Go(func() { t.serve(client) })
	}
}

func (t *terminator) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", t.target)
	if err != nil {
		reset(client)
		return
	}
	defer server.Close()
	if !t.keep(client, server) {
		return
	}
	defer t.forget(client, server)
	secured := tls.Server(client, t.config)
	var answers sync.WaitGroup
	answers.Go(func() { carry(secured, server, client, server) })
	carry(server, secured, client, server)
	answers.Wait()
}

// carry copies until from ends, and ends to in the same way: both connections are reset if from
// fails.
func carry(to io.Writer, from io.Reader, both ...net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		for _, conn := range both {
			reset(conn)
		}
		return
	}
	_ = to.(interface{ CloseWrite() error }).CloseWrite()
}

// reset closes a connection without a farewell.
func reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// keep reports whether the connections may be used: they are closed with the terminator.
func (t *terminator) keep(conns ...net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, conn := range conns {
		t.open[conn] = struct{}{}
	}
	return !t.closed
}

func (t *terminator) forget(conns ...net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, conn := range conns {
		delete(t.open, conn)
	}
}

// isUsed reports whether a client came.
func (t *terminator) isUsed() bool { return t.accepted.Load() > 0 }

// close ends every connection and waits for all goroutines.
func (t *terminator) close() {
	_ = t.listener.Close()
	t.mu.Lock()
	t.closed = true
	for conn := range t.open {
		_ = conn.Close()
	}
	t.mu.Unlock()
	t.wait.Wait()
}
