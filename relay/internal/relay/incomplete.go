package relay

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// incompleteRows logs that the log has rows that lack columns.
func (s *session) incompleteRows(lack *pgoutput.MissingColumnError) {
	s.Log.Error("rows of the log lack columns: those that the recovery does not publish from the table become dead "+
		"letters", "event", "log_incomplete", "slot", s.Slot, "table", lack.Table,
		"columns", lack.Columns())
}

// isInTable reports whether the recovery finds a row in the table with the id, the seq and the xid
// of e, as far as the log has them. A row without an id and a seq is not found.
func (s *session) isInTable(e *outbox.Envelope) (bool, error) {
	table, isKnown := s.Table.Of(e.Source)
	conditions := []string{table.FilterSQL("")}
	for _, is := range []struct{ column, value string }{
		{table.Columns.ID, e.ID}, {table.Columns.Sequence, e.Sequence}, {table.Columns.XID, e.XID},
	} {
		if is.column != "" && is.value != "" {
			conditions = append(conditions, outboxtable.Quote(is.column)+" = "+outboxtable.QuoteLiteral(is.value))
		}
	}
	if !isKnown || e.ID == "" && e.Sequence == "" { // another row of the transaction may have the xid
		return false, nil
	}
	ctx, end := s.lookUp()
	defer end()
	var isThere bool
	err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM `+table.From()+` WHERE `+
		strings.Join(conditions, " AND ")+`)`, pgx.QueryExecModeExec). // each statement is another one
		Scan(&isThere)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && (pgerrcode.IsDataException(refused.Code) ||
		refused.Code == pgerrcode.UndefinedFunction) {
		return false, nil // a value is none of the column's type now, or the type has no equality
	}
	if err != nil {
		return false, fmt.Errorf("look for the row of an event in table %s: %w", table, err)
	}
	return isThere, nil
}
