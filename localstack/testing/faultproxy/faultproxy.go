// Package faultproxy is a TCP proxy between clients and a server on this machine that injects the
// faults of a network: connections are reset, go silent, are closed on one side only, or become
// slow.
package faultproxy

import (
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"
)

// Network is a proxy for one server. Its methods are safe for concurrent use.
type Network struct {
	listener net.Listener
	target   string
	wait     sync.WaitGroup

	mu      sync.Mutex
	lines   map[*line]struct{}
	silent  [2]bool // by side: its bytes wait
	pace    Pace    // of every line
	stops   []*Stop
	changed chan struct{} // closed when a waiting line has to check the state again
	closed  bool
}

// Side is an end of a connection.
type Side int

// The ends of a connection.
const (
	Client Side = iota
	Server
)

// Pace limits the speed of a network. The zero Pace adds no limit.
type Pace struct {
	Delay          time.Duration // of every read
	BytesPerSecond int           // for each line and direction; 0: no limit
}

// New returns a network to the server at target, a host and a port. The caller must close it.
func New(target string) (*Network, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a network to %s: %w", target, err)
	}
	n := &Network{listener: listener, target: target, lines: map[*line]struct{}{}, changed: make(chan struct{})}
	n.wait.Go(n.accept)
	return n, nil
}

// To returns a network to the server of a URL, and the URL that leads through it. The caller must
// close the network.
func To(server string) (n *Network, through string, err error) {
	target, err := url.Parse(server)
	if err != nil {
		return nil, "", err
	}
	if n, err = New(target.Host); err != nil {
		return nil, "", err
	}
	target.Host = n.listener.Addr().String()
	return n, target.String(), nil
}

// Addr is the address for clients.
func (n *Network) Addr() string { return n.listener.Addr().String() }

// Reset closes every connection with a reset on both sides. New connections work.
func (n *Network) Reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.lines {
		reset(l.ends[Client])
		reset(l.ends[Server])
	}
}

// Silence holds back everything from these sides, including the end of a connection, on existing
// and new connections, until [Network.Mend]. Neither side is notified. No argument means both
// sides.
func (n *Network) Silence(speakers ...Side) {
	n.change(func() {
		n.silent = [2]bool{Client: len(speakers) == 0, Server: len(speakers) == 0}
		for _, s := range speakers {
			n.silent[s] = true
		}
	})
}

// Forget makes the existing connections silent permanently, like a restarted firewall. New
// connections work.
func (n *Network) Forget() {
	n.change(func() {
		for l := range n.lines {
			l.forgotten = true
		}
	})
}

// HalfOpen closes every connection on the client's side only. New connections work.
func (n *Network) HalfOpen() {
	n.change(func() {
		for l := range n.lines {
			l.forgotten = true
			reset(l.ends[Client])
		}
	})
}

// Slow sets the pace of all connections until [Network.Mend].
func (n *Network) Slow(p Pace) { n.change(func() { n.pace = p }) }

// Mend ends silence and slowness. It forwards the bytes that were held back.
func (n *Network) Mend() {
	n.change(func() { n.silent, n.pace = [2]bool{}, Pace{} })
}

// Close closes every connection and waits for all goroutines.
func (n *Network) Close() {
	_ = n.listener.Close()
	n.change(func() {
		n.closed = true
		for l := range n.lines {
			l.close()
		}
	})
	n.wait.Wait()
}

// change changes the state and wakes every waiting line.
func (n *Network) change(do func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	do()
	close(n.changed)
	n.changed = make(chan struct{})
}

// reset closes a connection with a reset and discards unread bytes.
func reset(end net.Conn) {
	_ = end.(*net.TCPConn).SetLinger(0)
	_ = end.Close()
}
