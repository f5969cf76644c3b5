package transport

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/sink"
)

// readBuffer of a connection holds the answer to a batch of ten, about 2 KB, with its head.
const readBuffer = 4 << 10

// connection carries requests to a service, one at a time.
type connection struct {
	conn   net.Conn
	reader *bufio.Reader
	probe  *probe
	head   []byte    // of the request, in memory that is used again
	idleAt time.Time // since when it is idle; zero before its first request

	ctx   context.Context // whose end ends what is under way
	leave func() bool
}

func newConnection(conn net.Conn) *connection {
	return &connection{conn: conn, reader: bufio.NewReaderSize(conn, readBuffer), probe: newProbe(conn), leave: func() bool { return true }}
}

// exchange sends request with the connection's head and reads the answer, until deadline or the end of ctx, which the connection follows. After an
// error, or if it is not reusable, it has to be closed.
func (c *connection) exchange(ctx context.Context, deadline time.Time, request *Request) (answer *Answer, reusable bool, err error) {
	err = c.conn.SetDeadline(deadline)
	if ctx.Err() != nil { // it may have ended before the deadline was set
		err = ctx.Err()
	}
	if err != nil {
		request.release()
		return nil, false, err
	}
	// A service that refuses a request may answer before it has read all of it, and hang up: the answer counts.
	sendErr := c.send(request)
	if _, err = c.reader.Peek(1); err == nil {
		answer, reusable, err = readAnswer(c.reader)
	} else {
		err = c.unanswered(cmp.Or(sendErr, err))
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return answer, reusable && sendErr == nil && c.reader.Buffered() == 0, err
}

// follow has the end of ctx end what is under way from now on, and reports whether the connection is still of use: it is not
// once the ctx that it followed before has ended. Most requests come with the same ctx as the one before.
func (c *connection) follow(ctx context.Context) bool {
	if c.ctx == ctx {
		return true
	}
	if !c.leave() {
		return false
	}
	c.ctx = ctx
	c.leave = context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	return true
}

// send gives request back once it is written: as many are in memory as are written at the same time, not as are under way.
func (c *connection) send(request *Request) error {
	defer request.release()
	if piece := request.after(c.head); piece != nil {
		_, err := c.conn.Write(piece)
		return err
	}
	if _, err := c.conn.Write(c.head); err != nil {
		return err
	}
	_, err := c.conn.Write(request.body())
	return err
}

// unanswered returns err for a request of which not a byte was answered. On a connection that has served before it was most
// likely closed while it was kept.
func (c *connection) unanswered(err error) error {
	if c.idleAt.IsZero() || os.IsTimeout(err) {
		return unexpected(err)
	}
	return fmt.Errorf("%w: %w", sink.ErrConnectionClosed, unexpected(err))
}

func (c *connection) close() {
	c.leave()
	_ = c.conn.Close()
}
