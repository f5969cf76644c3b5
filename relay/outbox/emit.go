package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// emitEvents emits any number of messages in one round trip. The inner ORDER BY makes the log
// follow the order of the slice.
const emitEvents = `
	SELECT pg_logical_emit_message(true, $1, message)
	FROM (SELECT message FROM pg_catalog.unnest($2::text[]) WITH ORDINALITY AS event (message, position)
	      ORDER BY position) AS ordered`

// emitEventsAsText is emitEvents for every driver of database/sql, as [insertEventsAsText]
// explains.
const emitEventsAsText = `
	SELECT pg_logical_emit_message(true, CAST($1 AS text), message)
	FROM (SELECT message FROM pg_catalog.unnest(CAST($2::text AS text[])) WITH ORDINALITY AS event (message, position)
	      ORDER BY position) AS ordered`

// Emit writes events to the log as part of tx, and to no table: they are delivered if tx commits
// and never otherwise. A relay reads them if RELAY_EMITTED is prefix. An event without a row cannot
// be deferred, replayed or repaired: see relay/docs/messages.md.
//
// Like [Insert], Emit checks every event first and writes none if one is not valid, and fills a
// zero ID with a UUIDv7. [Event.MaxBytes] does not apply: no emitted payload may be longer than
// [MaxPayload]. Where the order of one aggregate's events matters, lock the aggregate before Emit,
// and do not write some of its events with [Insert].
func Emit(ctx context.Context, tx pgx.Tx, prefix string, events ...Event) error {
	contents, err := messages(prefix, events)
	if err != nil || len(contents) == 0 {
		return err
	}
	if _, err := tx.Exec(ctx, emitEvents, prefix, contents); err != nil {
		return fmt.Errorf("emit outbox events: %w", err)
	}
	return nil
}

// EmitSQL is [Emit] for database/sql and for libraries on top of it. Like [InsertSQL], it refuses
// everything that is no transaction.
func EmitSQL(ctx context.Context, tx Execer, prefix string, events ...Event) error {
	if _, isTransaction := tx.(transaction); !isTransaction {
		return fmt.Errorf("emit outbox events: %T is no transaction: begin one, and pass it instead", tx)
	}
	contents, err := messages(prefix, events)
	if err != nil || len(contents) == 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, emitEventsAsText, prefix, arrayText(contents)); err != nil {
		return fmt.Errorf("emit outbox events: %w", err)
	}
	return nil
}

// messages returns the content of the message of each event.
func messages(prefix string, events []Event) ([]string, error) {
	if prefix == "" {
		return nil, errors.New("emit outbox events: the prefix is empty: pass that of RELAY_EMITTED")
	}
	rows, err := columns(withoutMaxBytes(events))
	if err != nil {
		return nil, fmt.Errorf("emit outbox events: %w", err)
	}
	contents := make([]string, len(rows.id))
	for i := range rows.id {
		if contents[i], err = rows.message(i); err != nil {
			return nil, fmt.Errorf("emit outbox events: %w", err)
		}
	}
	return contents, nil
}

// withoutMaxBytes returns the events with the limit of an emitted payload: the relay parks every
// emitted message above [MaxPayload], also with a bucket for large events.
func withoutMaxBytes(events []Event) []Event {
	limited := slices.Clone(events)
	for i := range limited {
		limited[i].MaxBytes = 0
	}
	return limited
}

// message returns the content of the message of one event. The payload is appended, because an
// encoder would rewrite it.
func (c *eventColumns) message(i int) (string, error) {
	head, err := json.Marshal(struct {
		ID            string          `json:"id"`
		AggregateType string          `json:"aggregate_type"`
		AggregateID   string          `json:"aggregate_id"`
		EventType     string          `json:"event_type"`
		Headers       json.RawMessage `json:"headers"`
	}{c.id[i].String(), c.aggregateType[i], c.aggregateID[i], c.eventType[i], json.RawMessage(c.headers[i])})
	if err != nil {
		return "", fmt.Errorf("encode event %s: %w", c.id[i], err)
	}
	return strings.TrimSuffix(string(head), "}") + `,"payload":` + c.payload[i] + "}", nil
}
