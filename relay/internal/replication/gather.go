package replication

import (
	"net"
	"syscall"
	"time"
)

// gatherBytes is the size of the pieces in which a backlog is read: about twenty events of the
// usual size. It is longer than a TLS record. A shorter piece might not contain the whole record,
// and the socket would have to gather a second time.
const gatherBytes = 18 << 10

// gatherer makes a backlog arrive in large pieces over TCP.
//
// The walsender sends each message separately, and an event in its own transaction takes three
// messages. Each send wakes a client that waits for input, at the expense of the walsender. The
// client reads three messages and sleeps again. Both processes then spend more time on waking than
// on events. A pause between two reads does not help: one thread of Go's runtime polls all sockets,
// and each arrival wakes it whether or not a goroutine reads. SO_RCVLOWAT keeps the kernel from
// waking it before enough bytes have arrived.
// https://man7.org/linux/man-pages/man7/socket.7.html
type gatherer struct {
	conn     net.Conn
	socket   syscall.RawConn // nil if the connection is not TCP, or the system cannot gather
	lowWater int             // current SO_RCVLOWAT of the socket, as it was set
	// piece is the least that a gathered read brings: gatherBytes, or less if the system bounds
	// receive buffers. The server sends no more than the buffer takes.
	piece int
}

func newGatherer(conn net.Conn) *gatherer {
	g := &gatherer{conn: conn, lowWater: 1}
	for {
		wrapped, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = wrapped.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		g.socket, _ = tcp.SyscallConn() // the next read returns the error
	}
	return g
}

// gather returns when a large piece has arrived, when wait is over, or when another goroutine has
// set the read deadline to the past. It reads nothing, and reports whether it has moved the read
// deadline.
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
		return false // the following read returns the error
	}
	err := g.socket.Read(func(fd uintptr) bool { return arrived(fd) >= g.piece })
	// Less than a large piece has arrived. The following read takes it and must not wait for more.
	if err != nil {
		g.setLowWater(1)
	}
	return true
}

func (g *gatherer) setLowWater(bytes int) {
	if g.lowWater == bytes {
		return
	}
	g.lowWater, g.piece = bytes, bytes
	_ = g.socket.Control(func(fd uintptr) { g.piece = setReceiveLowWater(fd, bytes) })
}
