package outboxtable

import (
	"fmt"
	"math"
	"slices"

	"github.com/outbox-relay/outbox-relay/relay/internal/operator"
)

// SeqLimits are the two numbers that no row may have as its seq. The relay reads a table behind the
// seq before the first row, and the lowest number has none before it. The highest one means that no
// row waits.
var SeqLimits = []int64{math.MinInt64, math.MaxInt64}

// CheckSeq returns an [*operator.NeededError] with the statement that gives the row another number
// if seq is one of [SeqLimits].
func (t Table) CheckSeq(seq int64) error {
	if !slices.Contains(SeqLimits, seq) {
		return nil
	}
	return operator.Needed("%s: %s", t.SeqLimit(seq), t.RenumberSQL(seq))
}

// SeqLimit says what a row with a seq of [SeqLimits] prevents.
func (t Table) SeqLimit(seq int64) string {
	return fmt.Sprintf("table %s.%s has a row with %s = %d, the first or last bigint, and the relay cannot read the "+
		"table in order from there: give the row another number", t.Schema, t.Name, t.Columns.Sequence, seq)
}

// RenumberSQL returns the statement that gives the rows of a seq the next number of the sequence.
func (t Table) RenumberSQL(seq int64) string {
	column := Quote(t.Columns.Sequence)
	return fmt.Sprintf("UPDATE %s SET %s = DEFAULT WHERE %[2]s = %d;", t.Identifier(), column, seq)
}

// Before returns the number behind which a read begins so that it contains the rows of seq.
func Before(seq int64) int64 { return max(seq, math.MinInt64+1) - 1 }
