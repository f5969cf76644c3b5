package delivery

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// Row identifies one row of the outbox table.
type Row struct {
	Sequence string // column seq; empty if the table has none
	XID      string // column xid; empty if the table has none
	// commit position of its transaction; zero for a row that was read from the table
	CommitLSN pglogrepl.LSN
	Number    int64
	Writer    uint32         // low half of the transaction that wrote it; zero if that is unknown
	Source    *outbox.Source // its table, if the relay reads several
}

// Numbers returns the xid and the common seq of a row that names the transaction which wrote it. It
// returns false for every other row.
func (r Row) Numbers() (xid uint64, seq int64, ok bool) {
	if r.Writer == 0 {
		return 0, 0, false
	}
	xid, err := strconv.ParseUint(r.XID, 10, 64)
	if err != nil || uint32(xid) != r.Writer {
		return 0, 0, false
	}
	seq, err = r.Seq()
	return xid, seq, err == nil
}

// Seq returns the common seq of a row.
func (r Row) Seq() (int64, error) {
	seq, err := strconv.ParseInt(r.Sequence, 10, 64)
	if err != nil {
		return 0, err
	}
	return r.Source.Common(seq)
}

// longestID is the length in bytes up to which a row key contains the event id itself.
const longestID = 128

// Key returns a text that identifies the row, which has this event id. It is the same whenever the
// log or the table brings that row, and different for every other row. A seq alone is not
// sufficient, because it begins at 1 again when the table is truncated or replaced.
func (r Row) Key(eventID string) string {
	if len(eventID) > longestID {
		sum := sha256.Sum256([]byte(eventID))
		eventID = hex.EncodeToString(sum[:])
	}
	place := r.Sequence
	if place == "" {
		place = fmt.Sprintf("%s+%d", r.CommitLSN, r.Number)
	}
	if r.Source != nil {
		place = r.Source.Table + " " + place
	}
	return place + " " + r.XID + " " + eventID
}
