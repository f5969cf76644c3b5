// Package network stands between clients and a server on this machine, and fails as networks do: connections are reset,
// go silent, lose one of their ends, or become slow.
package network

import (
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"
)

// Network passes on what clients and server say to each other. Its methods can be called at any time.
type Network struct {
	listener net.Listener
	target   string
	wait     sync.WaitGroup

	mu      sync.Mutex
	lines   map[*line]struct{}
	silent  [2]bool // by speaker; what is said waits
	pace    Pace    // of every line
	stops   []*Stop
	changed chan struct{} // closed when a line that waits has to look again
	closed  bool
}

// Side is an end of a connection.
type Side int

// The sides.
const (
	Client Side = iota
	Server
)

// Pace is how slow a network is. The zero Pace is as fast as it gets.
type Pace struct {
	Delay          time.Duration // of everything that is said
	BytesPerSecond int           // of each line and direction; 0: no limit
}

// New returns a network to the server at target, a host and a port. It is to be closed.
func New(target string) (*Network, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a network to %s: %w", target, err)
	}
	n := &Network{listener: listener, target: target, lines: map[*line]struct{}{}, changed: make(chan struct{})}
	n.wait.Go(n.accept)
	return n, nil
}

// To returns a network to the server of a URL, and the URL by way of it. The network is to be closed.
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

// Addr is where clients connect to.
func (n *Network) Addr() string { return n.listener.Addr().String() }

// Reset ends every connection; both sides are told at once. New ones pass.
func (n *Network) Reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.lines {
		reset(l.ends[Client])
		reset(l.ends[Server])
	}
}

// Silence holds back everything that these sides say, also that they hang up, and also on connections to come, until
// [Network.Mend]. Nobody is told. With no side it is both.
func (n *Network) Silence(speakers ...Side) {
	n.change(func() {
		n.silent = [2]bool{Client: len(speakers) == 0, Server: len(speakers) == 0}
		for _, s := range speakers {
			n.silent[s] = true
		}
	})
}

// Forget makes the connections that there are silent for good, as a firewall does that was started again. New ones pass.
func (n *Network) Forget() {
	n.change(func() {
		for l := range n.lines {
			l.forgotten = true
		}
	})
}

// HalfOpen ends every connection for its client. The server is never told. New ones pass.
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

// Mend ends silence and slowness. What was held back goes on its way.
func (n *Network) Mend() {
	n.change(func() { n.silent, n.pace = [2]bool{}, Pace{} })
}

// Close ends every connection and waits until nothing of the network is left.
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

// change changes the network's state and has everybody who waits look at it.
func (n *Network) change(do func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	do()
	close(n.changed)
	n.changed = make(chan struct{})
}

// reset closes an end so that the other side is told that the connection is gone, and does not wait for what is still to come.
func reset(end net.Conn) {
	_ = end.(*net.TCPConn).SetLinger(0)
	_ = end.Close()
}
