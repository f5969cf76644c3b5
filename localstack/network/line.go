package network

import (
	"net"
	"sync"
	"time"
)

// line is one connection by way of the network.
type line struct {
	network   *Network
	ends      [2]net.Conn // by side
	forgotten bool        // it is silent for good
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

// carry passes on what speaker says until either side hangs up, and then has the other one know.
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

// mayPass waits until the network lets pass what speaker says, and reports whether it ever does.
func (l *line) mayPass(speaker Side, said []byte) bool {
	n, began := l.network, time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	for !n.closed {
		wait := n.pace.of(len(said)) - time.Since(began)
		if n.silent[speaker] || l.forgotten || n.holdsBack(said) {
			wait = time.Hour // until something changes
		}
		if wait <= 0 {
			return true
		}
		n.await(wait)
	}
	return false
}

// await waits until something changes, but not for longer. n.mu is held when it is called and when it returns.
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

// of returns how long so many bytes take.
func (p Pace) of(bytes int) time.Duration {
	if p.BytesPerSecond == 0 {
		return p.Delay
	}
	return p.Delay + time.Duration(bytes)*time.Second/time.Duration(p.BytesPerSecond)
}
