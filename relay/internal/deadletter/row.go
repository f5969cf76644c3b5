package deadletter

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
)

// longestID is the length in bytes up to which a row key contains the event id itself.
const longestID = 128

// rowKey identifies a row of the outbox table. It is the same whenever the log or the table brings
// that row, and different for every other row. A seq alone is not sufficient, because it begins at
// 1 again when the table is truncated or replaced.
func rowKey(r delivery.Row, eventID string) string {
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

// rowSeq returns the common seq of a row, or nil if it has none.
func rowSeq(r delivery.Row) (*int64, error) {
	if r.Sequence == "" {
		return nil, nil
	}
	seq, err := strconv.ParseInt(r.Sequence, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("its seq is no number: %w", err)
	}
	if seq, err = r.Source.Common(seq); err != nil {
		return nil, nil
	}
	return &seq, nil
}

func isUniqueViolation(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == pgerrcode.UniqueViolation
}
