package replication

import (
	"io"
	"os"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/largemessage"
)

// sourceSize holds a hundred events of the usual size. The server sends each message separately.
// Reading the messages one by one would take longer than all other work on them.
const sourceSize = 64 << 10

// source reads a replication connection in large pieces.
type source struct {
	conn       io.Reader
	ahead      *readAhead                // below conn, while the stream is read; otherwise nil
	beforeRead func(now time.Time) error // called before the buffer is refilled; an error replaces the read

	buffer []byte
	unread []byte // part of buffer
	filled int    // bytes that the last read brought
	closed bool   // a read brings nothing, and times out

	turns    *largemessage.Turns
	patience time.Duration // for a turn
	endTurn  func()        // nil: the stream has no turn

	now        time.Time // when the stream last waited for the server or for its handler
	receivedAt time.Time // when the server last sent something
}

func newSource(conn io.Reader) *source {
	return &source{conn: conn, beforeRead: noCheck, buffer: make([]byte, sourceSize)}
}

func noCheck(time.Time) error { return nil }

// waited records that the stream did not read for a while by its own choice, so that the pause does
// not count as silence of the server.
func (s *source) waited() {
	s.now = time.Now()
	s.receivedAt = s.now
}

// Read implements [io.Reader].
func (s *source) Read(p []byte) (int, error) {
	if s.closed {
		return 0, os.ErrDeadlineExceeded
	}
	if len(p) >= largemessage.Length && s.endTurn == nil {
		s.takeTurn()
	}
	if len(s.unread) == 0 {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.unread)
	s.unread = s.unread[n:]
	return n, nil
}

func (s *source) fill() error {
	if err := s.beforeRead(time.Now()); err != nil {
		return err
	}
	n, err := s.conn.Read(s.buffer)
	if err == nil && s.ahead != nil {
		n = s.takeArrived(n)
	}
	s.unread, s.filled, s.now = s.buffer[:n], n, time.Now()
	if n == 0 {
		return err
	}
	s.receivedAt = s.now
	return nil // the next read returns the error
}

// longestRecord is the longest plaintext that one read of a TLS connection returns.
// https://www.rfc-editor.org/rfc/rfc8446#section-5.1
const longestRecord = 16 << 10

// takeArrived reads the other records that have arrived in the same piece, behind the first n bytes
// of buffer. It returns how many bytes of buffer are filled then. One read of a TLS connection
// returns only one record, and each record has one message.
//
// Only the stream may look for more. While pgconn writes a query slowly, it reads in the
// background, and each other read waits until that one ends: behind the answer, possibly for ever.
func (s *source) takeArrived(n int) int {
	s.ahead.withoutWait.Store(true)
	defer s.ahead.withoutWait.Store(false)
	for len(s.buffer)-n >= longestRecord {
		more, err := s.conn.Read(s.buffer[n:])
		n += more
		if err != nil { // no complete record is left, or the next read returns the error
			break
		}
	}
	return n
}
