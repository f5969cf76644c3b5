package replication

import (
	"encoding/binary"
	"io"

	"github.com/jackc/pglogrepl"
)

const (
	// longestMessage is the longest message of pg_logical_emit_message that passes unchanged. Any
	// role that can connect may write one of 1 GB, and pgproto3 reads a message as a whole. A dead
	// letter keeps less than this.
	longestMessage = 17 << 20
	// keptOfMessage is how much of a longer one remains, in bytes: the id and the aggregate are
	// mostly at its start.
	keptOfMessage = 64 << 10
	// frameHeader is the type and the length of each message of the server.
	frameHeader = 1 + 4
	// messageHeader is how far the type of a message in the log is from the start of its frame:
	// behind the kind of the CopyData, two positions and a time.
	messageHeader = frameHeader + 1 + 3*8
)

// trimmer reads a replication connection, and drops the rest of each message of
// pg_logical_emit_message that is too long. Rows have no limit here: their table bounds them.
//
// https://www.postgresql.org/docs/current/protocol-message-formats.html
type trimmer struct {
	conn io.Reader

	buffer [messageHeader + 1]byte
	head   []byte // part of buffer: the next frame, as far as it is read
	ready  []byte // part of head that is not returned yet
	left   int    // bytes of the current frame that follow and pass unchanged
	drop   int    // bytes of the current frame behind them
}

// Read implements [io.Reader]. After an error, which may be a timeout, the next call continues.
func (t *trimmer) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(t.ready) == 0 && t.left == 0 {
		if err := t.nextFrame(p); err != nil {
			return 0, err
		}
	}
	if len(t.ready) > 0 {
		n := copy(p, t.ready)
		t.ready = t.ready[n:]
		return n, nil
	}
	n, err := t.conn.Read(p[:min(len(p), t.left)])
	t.left -= n
	return n, err
}

// nextFrame drops the rest of a long message and reads the head of the next frame. It may use p for
// the bytes that it drops.
func (t *trimmer) nextFrame(p []byte) error {
	for t.drop > 0 {
		n, err := t.conn.Read(p[:min(len(p), t.drop)])
		if t.drop -= n; err != nil && t.drop > 0 {
			return err
		}
	}
	if err := t.readHead(frameHeader); err != nil {
		return err
	}
	length := max(0, int(binary.BigEndian.Uint32(t.head[1:]))-4)
	if t.head[0] == 'd' && length > longestMessage {
		if err := t.readHead(messageHeader + 1); err != nil {
			return err
		}
		if t.head[frameHeader] == pglogrepl.XLogDataByteID && t.head[messageHeader] == 'M' {
			t.drop = length - keptOfMessage
			length = keptOfMessage
			binary.BigEndian.PutUint32(t.head[1:], uint32(length+4)) //nolint:gosec // a constant
		}
	}
	t.left = length - (len(t.head) - frameHeader)
	t.ready, t.head = t.head, t.head[:0]
	return nil
}

// readHead reads until head has n bytes. The next read returns an error that came with the last of
// them.
func (t *trimmer) readHead(n int) error {
	for len(t.head) < n {
		read, err := t.conn.Read(t.buffer[len(t.head):n])
		if t.head = t.buffer[:len(t.head)+read]; err != nil && len(t.head) < n {
			return err
		}
	}
	return nil
}
