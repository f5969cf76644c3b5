package replication

import (
	"context"
	"net"
	"os"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"
)

// readAheadSize is half of sourceSize: a source has room for all that one read brings, and for the rest of a TLS record.
const readAheadSize = sourceSize / 2

// readAhead is the connection below TLS. It is read in large pieces.
//
// The walsender sends each message by itself, which makes it a TLS record of its own. crypto/tls reads the socket for
// about one record at a time, and returns one record from each Read. A stream that gathered before each of them would wait
// for a large piece three times an event, and the server's window would stay closed meanwhile.
type readAhead struct {
	net.Conn
	buffer []byte // made for the first reader that asks for less
	unread []byte // of buffer

	// withoutWait has a read return os.ErrDeadlineExceeded in place of a wait for the socket. crypto/tls takes that for a
	// deadline, keeps the part of a record that it has, and may be read again. pgconn reads in the background while a
	// write is slow.
	withoutWait atomic.Bool
}

// dialAhead returns dial with a readAhead around each connection, and hands that to use.
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

// NetConn returns the connection below, as that of [crypto/tls.Conn] does.
func (a *readAhead) NetConn() net.Conn { return a.Conn }

// Read implements [net.Conn].
func (a *readAhead) Read(p []byte) (int, error) {
	switch {
	case len(a.unread) > 0:
	case a.withoutWait.Load():
		return 0, os.ErrDeadlineExceeded
	case len(p) >= readAheadSize: // there is no TLS
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
		return nil // an error comes again
	}
	return err
}
