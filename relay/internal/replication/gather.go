package replication

import (
	"net"
	"syscall"
	"time"
)

// gatherBytes is the piece that a backlog is read in: some twenty events of the usual size. It is longer than a TLS record,
// or a piece could be too short for the only record in it, and the socket would have to gather again.
const gatherBytes = 18 << 10

// gatherer has a backlog arrive in large pieces, over TCP.
//
// The walsender sends each message by itself, three for an event in a transaction of its own. A client that sleeps until
// something arrives is woken by one of these sends, at the expense of the walsender, reads three messages, and sleeps
// again: both then spend more on waking and sleeping than on events. A pause between two reads is no remedy, as a thread
// of Go's runtime waits for all sockets at once, and each arrival wakes it whether or not a goroutine reads. SO_RCVLOWAT
// keeps the kernel from waking it before so many bytes are there. https://man7.org/linux/man-pages/man7/socket.7.html
type gatherer struct {
	conn     net.Conn
	socket   syscall.RawConn // nil: it is no TCP connection, or the system cannot gather
	lowWater int             // of the socket
}

func newGatherer(conn net.Conn) *gatherer {
	g := &gatherer{conn: conn, lowWater: 1}
	for wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok; wrapped, ok = conn.(interface{ NetConn() net.Conn }) {
		conn = wrapped.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		g.socket, _ = tcp.SyscallConn() // an error comes again from the next read
	}
	return g
}

// gather returns when a large piece has arrived, when it has waited so long, or when the read deadline was set to the
// past meanwhile. It reads nothing, and reports whether it has moved the read deadline.
func (g *gatherer) gather(now time.Time, wait time.Duration) (waited bool) {
	if g.socket == nil {
		return false
	}
	if wait <= 0 {
		g.setLowWater(1)
		return false
	}
	g.setLowWater(gatherBytes)
	if err := g.conn.SetReadDeadline(now.Add(wait)); err != nil {
		return false // the read that follows returns it too
	}
	err := g.socket.Read(func(fd uintptr) bool { return arrived(fd) >= gatherBytes })
	if err != nil { // too little came: the read takes that, and must not wait for more
		g.setLowWater(1)
	}
	return true
}

func (g *gatherer) setLowWater(bytes int) {
	if g.lowWater == bytes {
		return
	}
	g.lowWater = bytes
	_ = g.socket.Control(func(fd uintptr) { // without it the wait is woken too often, and as long
		_ = setReceiveLowWater(fd, bytes)
	})
}
