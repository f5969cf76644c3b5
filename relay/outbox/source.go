package outbox

import (
	"fmt"
	"math"
	"strconv"
)

// Source is one of several outbox tables that a relay reads through one slot.
type Source struct {
	Schema, Name string
	Table        string // schema.name, each part quoted if SQL needs it
	// Number is unique among the tables of the slot, and stays. [NoNumber]: the table no longer
	// exists, and the log still has rows of it.
	Number int64
}

// NoNumber is the [Source.Number] of a table that no longer exists.
const NoNumber = -1

// A common seq has the number of the table above the seq. seqBits leave room for 65,536 tables, and
// for the seqs of a sequence from -2^46 to 2^46.
const (
	seqBits = 47
	halfSeq = 1 << (seqBits - 1)
	// MaxSources is the number of tables that one slot may have had in all.
	MaxSources = 1 << (63 - seqBits)
)

// Offset is the difference between the common seq of a row and its seq.
func (s *Source) Offset() int64 {
	if s == nil {
		return 0
	}
	return s.Number << seqBits
}

// Common returns the common seq of a row: the number of its table and its seq in one number, in the
// order of both. It is the seq itself for a relay with one table. No two rows of one time have the
// same.
func (s *Source) Common(seq int64) (int64, error) {
	switch {
	case s == nil:
		return seq, nil
	case s.Number == NoNumber:
		return 0, fmt.Errorf("table %s no longer exists", s.Table)
	case seq < -halfSeq || seq >= halfSeq:
		return 0, fmt.Errorf("seq %d of table %s is outside of -2^46 to 2^46", seq, s.Table)
	}
	return s.Offset() + seq, nil
}

// Own returns the seq in this table of a common seq. Where that belongs to another table, the
// result is before or behind every row, as the common seq is.
func (s *Source) Own(common int64) int64 {
	if s == nil {
		return common
	}
	switch own := common - s.Offset(); {
	case common < -halfSeq, own < -halfSeq:
		return math.MinInt64
	case own >= halfSeq:
		return math.MaxInt64
	default:
		return own
	}
}

// CommonSeq returns the common seq of the row. See [Source.Common].
func (e *Envelope) CommonSeq() (int64, error) {
	seq, err := strconv.ParseInt(e.Sequence, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("its seq is no number: %w", err)
	}
	return e.Source.Common(seq)
}
