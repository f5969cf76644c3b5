package deadletter

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
)

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
