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
	head   []byte    // head of the request, in reused memory
	idleAt time.Time // idle since; zero before its first request

	ctx   context.Context // its end cancels the request
	leave func() bool
}

func newConnection(conn net.Conn) *connection {
	return &connection{
		conn:   conn,
		reader: bufio.NewReaderSize(conn, readBuffer),
		probe:  newProbe(conn),
		leave:  func() bool { return true },
	}
}

// exchange sends request with the connection's head and reads the answer, until deadline or the end
// of ctx. The caller closes the connection after an error, or if it is not reusable.
func (c *connection) exchange(
	ctx context.Context,
	deadline time.Time,
	request *Request,
) (answer *Answer, reusable bool, err error) {
	err = c.conn.SetDeadline(deadline)
	if ctx.Err() != nil { // ctx may have ended before the deadline was set
		err = ctx.Err()
	}
	if err != nil {
		request.release()
		return nil, false, err
	}
	// A service that refuses a request may answer before it has read all of it, and close the
	// connection. The answer counts.
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
	// writtenFirst is how much is written before the answer is read. The buffers of both sockets
	// hold that, even if the service reads nothing: those of Linux hold 16 KB at the sender and 64
	// KB at the receiver. A larger request is written while its answer is read, because a proxy
	// that refuses its size does not read it to the end.
	writtenFirst = 64 << 10
	// lateWrite is how long the end of a request may come after the end of its answer.
	lateWrite = 20 * time.Millisecond
)

// sending is a request that is being written.
type sending struct {
	err  error      // of a request that was written first
	done chan error // of a request that is written while its answer is read; otherwise nil
}

// startSend writes request, or starts a goroutine that writes it.
func (c *connection) startSend(request *Request) sending {
	if len(c.head)+len(request.body()) <= writtenFirst {
		return sending{err: c.send(request)}
	}
	s := sending{done: make(chan error, 1)}
	go func() { s.done <- c.send(request) }()
	return s
}

// endSend waits for the writer of a request that was answered, or failed with err, and reports
// whether all of it was written.
func (c *connection) endSend(s sending, err error) (whole bool) {
	if s.done == nil {
		return s.err == nil
	}
	select {
	case sent := <-s.done: // before its answer, as nearly always
		return err == nil && sent == nil
	default:
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

// follow makes the end of ctx cancel the requests from now on. It reports whether the connection is
// usable, which it is not once its previous ctx has ended. Most requests have the ctx of the one
// before.
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

// send releases request once it is written. So memory holds as many requests as are written at the
// same time, and not as are in flight.
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

// unanswered returns err for a request without a byte of an answer. A connection that has served
// before was most probably closed while it was idle.
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
