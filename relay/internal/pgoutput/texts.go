package pgoutput

import "strings"

// pieceSize holds the texts of fifty rows of the usual size.
const pieceSize = 32 << 10

// texts is the memory of the texts of rows, of many in one piece: one allocation for fifty of them. A piece lives as long as
// any of its rows, and rows end about in the order in which they came, so that what is kept for another row's sake is little
// more than the piece at each end of what the relay has open.
type texts struct{ piece strings.Builder }

// room returns where to write the texts of a row, of so many bytes together. A large row is a piece of its own.
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
