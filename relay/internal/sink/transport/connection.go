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
	sent := c.startSend(request)
	if _, err = c.reader.Peek(1); err == nil {
		answer, reusable, err = readAnswer(c.reader)
	} else {
		err = c.unanswered(cmp.Or(sent.err, err))
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	whole := c.endSend(sent, err)
	return answer, reusable && whole && c.reader.Buffered() == 0, err
}

const (
	// writtenFirst is how much is written before the answer is waited for. The buffers of a socket take that at once. A larger
	// request is written while its answer is read: a proxy that refuses its size does not read it to the end.
	writtenFirst = 16 << 10
	// lateWrite is how long the end of a request may be behind the end of its answer.
	lateWrite = 20 * time.Millisecond
)

// sending is a request that is being written.
type sending struct {
	err  error      // of one that was written first
	done chan error // of one that is written while its answer is read; else nil
}

// startSend writes request, or has it written.
func (c *connection) startSend(request *Request) sending {
	if len(c.head)+len(request.body()) <= writtenFirst {
		return sending{err: c.send(request)}
	}
	s := sending{done: make(chan error, 1)}
	go func() { s.done <- c.send(request) }()
	return s
}

// endSend waits for the writer of a request that was answered, or failed with err, and reports whether all of it was written.
func (c *connection) endSend(s sending, err error) (whole bool) {
	if s.done == nil {
		return s.err == nil
	}
	if err == nil {
		late := time.NewTimer(lateWrite)
		defer late.Stop()
		select {
		case err := <-s.done:
			return err == nil
		case <-late.C:
		}
	}
	_ = c.conn.SetDeadline(time.Unix(1, 0))
	<-s.done
	return false
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
