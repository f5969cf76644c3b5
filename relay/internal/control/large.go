package control

import (
	"context"
	"io"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
)

// largeMessage is the length from which a message of a control connection counts as large, in
// bytes.
const largeMessage = 4 << 20

// watchLarge makes a connection note that it has carried a large message. Its pool then drops it:
// see [closeLarge].
//
// A connection keeps the buffers of its last messages: the arguments of a statement, and a row in a
// buffer of the next power of two of its length. Each connection of a pool would keep them until it
// carries the next message of the same kind.
func watchLarge(config *pgx.ConnConfig) {
	carried := &atomic.Bool{}
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		return pgproto3.NewFrontend(noting{r, w, carried}, noting{r, w, carried})
	}
	connected := config.AfterConnect
	config.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		conn.CustomData()[carriedLarge] = carried
		if connected == nil {
			return nil
		}
		return connected(ctx, conn)
	}
}

// closeLarge closes such a connection when it is released, so that its pool drops it. A function
// AfterRelease would make every release asynchronous, and the pool would open more connections.
type closeLarge struct{}

// TraceRelease implements [pgxpool.ReleaseTracer].
func (closeLarge) TraceRelease(_ *pgxpool.Pool, released pgxpool.TraceReleaseData) {
	conn := released.Conn
	if carried, watched := conn.PgConn().CustomData()[carriedLarge].(*atomic.Bool); watched && carried.Load() {
		CloseConnection(conn)
	}
}

// TraceQueryStart implements [pgx.QueryTracer], which a pool asks for.
func (closeLarge) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

// TraceQueryEnd implements [pgx.QueryTracer].
func (closeLarge) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// carriedLarge is the key of a connection's note.
const carriedLarge = "outbox-relay: carried a large message"

// noting notes large messages. pgproto3 reads a message into a buffer of its length, and writes a
// message with one call.
type noting struct {
	r       io.Reader
	w       io.Writer
	carried *atomic.Bool
}

func (n noting) Read(p []byte) (int, error) {
	n.note(p)
	return n.r.Read(p)
}

func (n noting) Write(p []byte) (int, error) {
	n.note(p)
	return n.w.Write(p)
}

func (n noting) note(p []byte) {
	if len(p) >= largeMessage {
		n.carried.Store(true)
	}
}
