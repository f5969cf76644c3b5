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

// smallMessage is the mean length up to which messages are small. The segments of larger ones cost
// little beside their content.
const smallMessage = 2 << 10

// A round trip to a nearby server takes nearby at most. Such a server may send about twice
// receiveBuffer ahead, which is still 128 MB a second.
const (
	nearby        = 500 * time.Microsecond
	receiveBuffer = 32 << 10
)

// leastTurnaround is how long the next bytes of a server that is ahead may take, however short the
// round trip is.
const leastTurnaround = 200 * time.Microsecond

// restAfter is how long the stream stays unread before [gatherer.rest]. While it is read, it may
// have to wait for room some thousand times a second.
const restAfter = 100 * time.Millisecond

// gatherer makes a backlog arrive in large pieces over TCP.
//
// The walsender sends each message separately, and an event in its own transaction takes three
// messages. As long as the kernel may send, each of them is a segment of its own, which takes the
// walsender twice as long as decoding the event. Each segment also wakes a client that waits for
// input. While the client's receive buffer is full, the kernel may not send. The messages gather in
// the server's send queue, and leave in segments of up to 64 KB.
//
// So a client that is faster than the server slows the server down. A gatherer lets the server get
// ahead: it bounds the receive buffer, and where less than a large piece has arrived, it reads
// nothing for long enough that the buffer becomes full. Meanwhile SO_RCVLOWAT keeps the kernel from
// waking a thread of Go's runtime, which polls all sockets, for each segment.
// https://man7.org/linux/man-pages/man7/socket.7.html
type gatherer struct {
	conn     net.Conn
	socket   syscall.RawConn // nil if the connection is not TCP, or the system cannot gather
	ahead    *readAhead      // between conn and the socket; nil if nothing reads ahead
	lowWater int             // current SO_RCVLOWAT of the socket, as it was set
	// piece is the least that a gathered read brings: gatherBytes, or less if the system bounds
	// receive buffers. The server sends no more than the buffer takes.
	piece int
	// turnaround is how long the next large piece may take after a read, if the server is ahead.
	turnaround time.Duration
	isNearby   bool // the receive buffer is bounded while the stream is read
	isBounded  bool // the receive buffer is bounded now
}

func newGatherer(conn net.Conn) *gatherer {
	g := &gatherer{conn: conn, lowWater: 1, turnaround: leastTurnaround}
	for {
		if ahead, ok := conn.(*readAhead); ok {
			g.ahead = ahead
		}
		wrapped, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = wrapped.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		g.socket, _ = tcp.SyscallConn() // the next read returns the error
	}
	if g.socket != nil {
		_ = g.socket.Control(func(fd uintptr) {
			roundTrip := shortestRoundTrip(fd)
			g.turnaround, g.isNearby = max(2*roundTrip, leastTurnaround), roundTrip <= nearby
		})
	}
	g.endRest()
	return g
}

// gather returns when a large piece has arrived, or when wait is over. It reads nothing, and it
// reports whether it has moved the read deadline. If the server sends small messages and is not
// ahead, gather gives it a head start for the rest of wait.
func (g *gatherer) gather(now time.Time, wait time.Duration, small bool) (waited bool) {
	if g.socket == nil {
		return false
	}
	g.endRest()
	if wait <= 0 {
		g.end()
		return false
	}
	g.setLowWater(gatherBytes)
	if g.hasPiece() {
		return false
	}
	turnaround := wait
	if small {
		turnaround = min(g.turnaround, wait)
	}
	if err := g.conn.SetReadDeadline(now.Add(turnaround)); err != nil {
		return false // the following read returns the error
	}
	_ = g.socket.Read(g.pieceArrived)
	if g.hasPiece() { // also if the goroutine ran only when the deadline had passed
		return true
	}
	time.Sleep(wait - turnaround)
	if !g.hasPiece() {
		g.end()
	}
	return true
}

// rest prepares for a time in which nothing is read. The kernel then discards nothing that the
// server has sent.
//
// The server may have sent more segments than a bounded buffer takes, because a small segment takes
// more of it than its content. The kernel discards the last one, each time that it is sent. Every
// acknowledgement of the server comes behind the discarded segment, outside of the window, and is
// discarded too. So the client's kernel waits for the acknowledgement of a status update and sends
// no further one, and the server ends the stream after wal_sender_timeout. That was found with
// Linux 6.18. Since version 6.6 Linux offers a window of nearly the whole buffer (see
// tcp_adv_win_scale). A buffer without a bound becomes larger instead.
// https://docs.kernel.org/networking/ip-sysctl.html
func (g *gatherer) rest() {
	if g.isBounded {
		g.isBounded = false
		_ = g.socket.Control(func(fd uintptr) {
			setReceiveBuffer(fd, 2*receiveBuffer)
			unboundReceiveBuffer(fd)
		})
	}
}

// endRest bounds the receive buffer of a nearby server.
func (g *gatherer) endRest() {
	if g.isNearby && !g.isBounded {
		g.isBounded = true
		_ = g.socket.Control(func(fd uintptr) { setReceiveBuffer(fd, receiveBuffer) })
	}
}

// end makes the following reads return as soon as anything has arrived.
func (g *gatherer) end() { g.setLowWater(1) }

// hasPiece reports whether a large piece has arrived.
func (g *gatherer) hasPiece() (has bool) {
	err := g.socket.Control(func(fd uintptr) { has = g.pieceArrived(fd) })
	return has || err != nil // the following read returns the error
}

func (g *gatherer) pieceArrived(fd uintptr) bool {
	if g.ahead != nil && len(g.ahead.unread) >= g.piece {
		return true
	}
	return arrived(fd) >= g.piece
}

func (g *gatherer) setLowWater(bytes int) {
	if g.lowWater == bytes {
		return
	}
	g.lowWater, g.piece = bytes, bytes
	_ = g.socket.Control(func(fd uintptr) { g.piece = setReceiveLowWater(fd, bytes) })
}
