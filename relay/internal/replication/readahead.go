package replication

import (
	"context"
	"net"
	"os"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"
)

// readAheadSize is half of sourceSize, so that a source has room for one piece and for the rest of
// a TLS record.
const readAheadSize = sourceSize / 2

// readAhead is the connection below TLS. It reads in large pieces.
//
// The walsender sends each message separately, so each message is a TLS record of its own.
// crypto/tls reads about one record at a time from the socket, and returns one record from each
// Read. If the stream gathered before each record, it would wait for a large piece three times an
// event, while the server's window stays closed.
type readAhead struct {
	net.Conn
	buffer []byte // allocated by the first reader that asks for less
	unread []byte // part of buffer

	// withoutWait makes a read return os.ErrDeadlineExceeded where it would wait for the socket.
	// crypto/tls treats that as a deadline: it keeps the part of a record that it has, and can be
	// read again. The field is atomic because pgconn reads in the background while a write is slow.
	withoutWait atomic.Bool
}

// dialAhead returns a dial function that wraps each connection in a readAhead and passes it to use.
func dialAhead(dial pgconn.DialFunc, use func(*readAhead)) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		ahead := &readAhead{Conn: conn}
		use(ahead)
		return ahead, nil
	}
}

// NetConn returns the connection below, like [crypto/tls.Conn.NetConn].
func (a *readAhead) NetConn() net.Conn { return a.Conn }

func (a *readAhead) Read(p []byte) (int, error) {
	switch {
	case len(a.unread) > 0:
	case a.withoutWait.Load():
		return 0, os.ErrDeadlineExceeded
	case len(p) >= readAheadSize: // without TLS, the source reads as much itself
		return a.Conn.Read(p)
	default:
		if err := a.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, a.unread)
	a.unread = a.unread[n:]
	return n, nil
}

func (a *readAhead) fill() error {
	if a.buffer == nil {
		a.buffer = make([]byte, readAheadSize)
	}
	n, err := a.Conn.Read(a.buffer)
	if a.unread = a.buffer[:n]; n > 0 {
		return nil // the next read returns the error
	}
	return err
}
