package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// Execer executes a statement in a transaction: a [*sql.Tx], or the transaction of a library on
// top of database/sql, such as *sqlx.Tx, bun.Tx, or the Statement.ConnPool of a *gorm.DB in
// Transaction.
type Execer interface {
	ExecContext(ctx context.Context, query string, arguments ...any) (sql.Result, error)
}

// transaction is implemented by every transaction, and by no pool and no connection.
type transaction interface {
	Commit() error
	Rollback() error
}

// insertEventsAsText is insertEvents for every driver of database/sql. The interface has no arrays,
// so each parameter is the text of an array and Postgres casts it.
const insertEventsAsText = `
	INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, headers)
	SELECT id, aggregate_type, aggregate_id, event_type, payload::json, headers::jsonb
	FROM unnest(CAST($1::text AS uuid[]), CAST($2::text AS text[]), CAST($3::text AS text[]), CAST($4::text AS text[]),
	            CAST($5::text AS text[]), CAST($6::text AS text[])) WITH ORDINALITY
	     AS event (id, aggregate_type, aggregate_id, event_type, payload, headers, position)
	ORDER BY position`

// InsertSQL is [Insert] for database/sql and for libraries on top of it. tx is the transaction of
// the change that the events report.
//
// InsertSQL refuses everything that has no Commit and Rollback, such as a [*sql.DB]. A pool commits
// each statement by itself: the event would be delivered even if the change is rolled back.
func InsertSQL(ctx context.Context, tx Execer, events ...Event) error {
	if _, isTransaction := tx.(transaction); !isTransaction {
		return fmt.Errorf("insert outbox events: %T is no transaction: begin one, and pass it instead", tx)
	}
	if len(events) == 0 {
		return nil
	}
	rows, err := columns(events)
	if err != nil {
		return fmt.Errorf("insert outbox events: %w", err)
	}
	ids := make([]string, len(rows.id))
	for i, id := range rows.id {
		ids[i] = id.String()
	}
	_, err = tx.ExecContext(ctx, insertEventsAsText, arrayText(ids), arrayText(rows.aggregateType),
		arrayText(rows.aggregateID), arrayText(rows.eventType), arrayText(rows.payload), arrayText(rows.headers))
	if err != nil {
		return fmt.Errorf("insert outbox events: %w", err)
	}
	return nil
}

var escapeElement = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// arrayText returns the text of an array. Every element is quoted, so that an empty one, NULL and a
// comma stay text. https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
func arrayText(elements []string) string {
	var text strings.Builder
	text.WriteByte('{')
	for i, element := range elements {
		if i > 0 {
			text.WriteByte(',')
		}
		text.WriteByte('"')
		_, _ = escapeElement.WriteString(&text, element) // a strings.Builder returns no error
		text.WriteByte('"')
	}
	text.WriteByte('}')
	return text.String()
}
