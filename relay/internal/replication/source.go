package replication

import (
	"io"
	"time"
)

// sourceSize holds a hundred events of the usual size. The server sends each message by itself: to read them one by one would take
// longer than everything else that is done with them.
const sourceSize = 64 << 10

// source is what a replication connection is read from: in large pieces.
type source struct {
	conn       io.Reader
	ahead      *readAhead                // below conn; may be nil
	beforeRead func(now time.Time) error // called when nothing is left; an error takes the place of the read

	buffer []byte
	unread []byte // of buffer

	now        time.Time // when the stream last waited, for the server or for its handler
	receivedAt time.Time // when the server last sent something
}

func newSource(conn io.Reader, ahead *readAhead) *source {
	return &source{conn: conn, ahead: ahead, beforeRead: noCheck, buffer: make([]byte, sourceSize)}
}

func noCheck(time.Time) error { return nil }

// waited notes that the stream has not read for a while by its own choice: the silence was not the server's.
func (s *source) waited() {
	s.now = time.Now()
	s.receivedAt = s.now
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
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
	s.unread, s.now = s.buffer[:n], time.Now()
	if n == 0 {
		return err
	}
	s.receivedAt = s.now
	return nil // an error comes again
}

// longestRecord is the most that one read of a TLS connection brings. https://www.rfc-editor.org/rfc/rfc8446#section-5.1
const longestRecord = 16 << 10

// takeArrived reads on behind the first n bytes of buffer what has arrived in the same piece, and returns how many bytes of
// buffer are read then. A read of a TLS connection brings one record, as short as the message in it.
func (s *source) takeArrived(n int) int {
	s.ahead.withoutWait.Store(true)
	defer s.ahead.withoutWait.Store(false)
	for len(s.buffer)-n >= longestRecord {
		more, err := s.conn.Read(s.buffer[n:])
		n += more
		if err != nil { // nothing is left, or the error comes again
			break
		}
	}
	return n
}
