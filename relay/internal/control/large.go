package control

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/largemessage"
)

// patience bounds the wait of a control connection for its turn to receive a large message.
const patience = 5 * time.Second

// watchLarge makes a connection note that it carries a large message, in its turn. Its pool then
// drops it: see [closeLarge].
//
// A connection keeps the buffers of its last messages: the arguments of a statement, and a row in a
// buffer of the next power of two of its length. Each connection of a pool would keep them until it
// carries the next message of the same kind.
func watchLarge(config *pgx.ConnConfig, turns *largemessage.Turns) {
	noted := &carried{turns: turns}
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		return pgproto3.NewFrontend(&notingReader{r: r, noted: noted}, notingWriter{w, noted})
	}
	connected := config.AfterConnect
	config.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		conn.CustomData()[carriedLarge] = noted
		if connected == nil {
			return nil
		}
		return connected(ctx, conn)
	}
}

// carriedLarge is the key of a connection's note.
const carriedLarge = "outbox-relay: carried a large message"

// carried is the note of a connection. pgconn reads in the background while a write is slow.
type carried struct {
	turns *largemessage.Turns
	mu    sync.Mutex
	done  func() // ends its turn; nil if the connection has carried no large message
}

// note notes a large message that is about to be received or sent.
func (c *carried) note() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = c.turns.Take(patience)
	}
}

// end closes a connection that has carried a large message, and ends its turn.
func (c *carried) end(closeConnection func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		return
	}
	closeConnection()
	largemessage.FreeBuffers()
	c.done()
	c.done = nil
}

// closeLarge closes such a connection when it is released, so that its pool drops it. A function
// AfterRelease would make every release asynchronous, and the pool would open more connections.
type closeLarge struct{}

// TraceRelease implements [pgxpool.ReleaseTracer].
func (closeLarge) TraceRelease(_ *pgxpool.Pool, released pgxpool.TraceReleaseData) {
	conn := released.Conn
	if noted, watched := conn.PgConn().CustomData()[carriedLarge].(*carried); watched {
		noted.end(func() { CloseConnection(conn) })
	}
}

// TraceQueryStart implements [pgx.QueryTracer], which a pool asks for.
func (closeLarge) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

// TraceQueryEnd implements [pgx.QueryTracer].
func (closeLarge) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// notingWriter notes large messages. pgproto3 writes a message with one call.
type notingWriter struct {
	io.Writer
	noted *carried
}

func (w notingWriter) Write(p []byte) (int, error) {
	if len(p) >= largemessage.Length {
		w.noted.note()
	}
	return w.Writer.Write(p)
}
