package pgoutput

import (
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// pieceSize is room for the texts of about fifty rows.
const pieceSize = 32 << 10

// texts allocates the texts of rows in large pieces: one allocation for about fifty rows. A piece
// is freed with the last of its rows. Rows are freed in about the order of their arrival, so only
// the first and the last piece waste memory.
type texts struct{ piece strings.Builder }

// longText is the length from which a text has a piece of its own, in bytes.
const longText = pieceSize / 8

// room returns a builder with room for the texts of a row. A large row has a piece of its own.
func (t *texts) room(bytes int) *strings.Builder {
	if bytes > longText {
		var own strings.Builder
		own.Grow(bytes)
		return &own
	}
	if t.piece.Cap()-t.piece.Len() < bytes {
		t.piece = strings.Builder{}
		t.piece.Grow(pieceSize)
	}
	return &t.piece
}

// detach gives each short text of e memory of its own. A large row has one piece for all its texts,
// and its id outlives its payload: a parked event blocks its group, and the Tracker knows the last
// event.
func detach(e *outbox.Envelope) {
	for _, field := range fieldsOf(e) {
		if len(*field) <= longText {
			*field = strings.Clone(*field)
		}
	}
}
