package faultproxy

import (
	"net"
	"sync"
	"time"
)

// line is one proxied connection.
type line struct {
	network   *Network
	ends      [2]net.Conn // by side
	forgotten bool        // silent permanently
}

func (n *Network) accept() {
	for {
		client, err := n.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", n.target)
		if err != nil {
			reset(client)
			continue
		}
		n.open(&line{network: n, ends: [2]net.Conn{Client: client, Server: server}})
	}
}

func (n *Network) open(l *line) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		l.close()
		return
	}
	n.lines[l] = struct{}{}
	n.wait.Go(func() {
		l.run()
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.lines, l)
	})
}

func (l *line) run() {
	var server sync.WaitGroup
	server.Go(func() { l.carry(Server) })
	l.carry(Client)
	server.Wait()
}

func (l *line) close() {
	_ = l.ends[Client].Close()
	_ = l.ends[Server].Close()
}

// carry forwards the bytes of speaker until either side closes, and then closes the other side.
func (l *line) carry(speaker Side) {
	from, to := l.ends[speaker], l.ends[1-speaker]
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		read, err := from.Read(buffer)
		if !l.mayPass(speaker, buffer[:read]) {
			return
		}
		if _, writeErr := to.Write(buffer[:read]); err != nil || writeErr != nil {
			return
		}
	}
}

// mayPass waits until the network forwards these bytes of speaker, and reports whether it ever
// does.
func (l *line) mayPass(speaker Side, said []byte) bool {
	n, began := l.network, time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	for !n.closed {
		wait := n.pace.of(len(said)) - time.Since(began)
		if n.silent[speaker] || l.forgotten || n.holdsBack(said) {
			wait = time.Hour // until the state changes
		}
		if wait <= 0 {
			return true
		}
		n.await(wait)
	}
	return false
}

// await waits until the state of the network changes, up to wait. n.mu is held before and after.
func (n *Network) await(wait time.Duration) {
	changed, timer := n.changed, time.NewTimer(wait)
	defer timer.Stop()
	n.mu.Unlock()
	defer n.mu.Lock()
	select {
	case <-changed:
	case <-timer.C:
	}
}

// of returns the transmission time of so many bytes.
func (p Pace) of(bytes int) time.Duration {
	if p.BytesPerSecond == 0 {
		return p.Delay
	}
	return p.Delay + time.Duration(bytes)*time.Second/time.Duration(p.BytesPerSecond)
}
