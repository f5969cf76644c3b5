package pgoutput

import "strings"

// pieceSize is room for the texts of about fifty rows.
const pieceSize = 32 << 10

// texts allocates the texts of rows in large pieces: one allocation for about fifty rows. A piece
// is freed with the last of its rows. Rows are freed in about the order of their arrival, so only
// the first and the last piece waste memory.
type texts struct{ piece strings.Builder }

// room returns a builder with room for the texts of a row. A large row has a piece of its own.
func (t *texts) room(bytes int) *strings.Builder {
	if bytes > pieceSize/8 {
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
