package control

import (
	"encoding/binary"
	"io"

	"github.com/outbox-relay/outbox-relay/relay/internal/largemessage"
)

// headLength is the length of the type and the length of a message.
// https://www.postgresql.org/docs/current/protocol-message-formats.html
const headLength = 5

// notingReader notes a large message before pgproto3 has its whole head, and so before pgproto3
// allocates its buffer.
type notingReader struct {
	r     io.Reader
	noted *carried
	head  []byte // the first bytes of the next head
	left  int    // bytes of the message whose head was read
	held  []byte // read, from the last byte of the head of a large message on
}

// Read implements [io.Reader].
func (n *notingReader) Read(p []byte) (int, error) {
	if len(n.held) > 0 {
		n.noted.note()
		copied := copy(p, n.held)
		n.held = n.held[copied:]
		return copied, nil
	}
	read, err := n.r.Read(p)
	switch at := n.findLarge(p[:read]); {
	case at == 0: // a reader returns a byte at least
		n.noted.note()
	case at > 0:
		n.held = append(n.held, p[at:read]...)
		return at, err
	}
	return read, err
}

// findLarge returns where the last byte of the head of a large message is, or -1. A piece is
// shorter than a large message, so it has at most one such head.
func (n *notingReader) findLarge(piece []byte) (at int) {
	at = -1
	for i := 0; i < len(piece); {
		if n.left > 0 {
			passed := min(n.left, len(piece)-i)
			n.left -= passed
			i += passed
			continue
		}
		n.head = append(n.head, piece[i])
		i++
		if len(n.head) < headLength {
			continue
		}
		n.left = int(binary.BigEndian.Uint32(n.head[1:])) - (headLength - 1)
		n.head = n.head[:0]
		if n.left >= largemessage.Length {
			at = i - 1
		}
	}
	return at
}
