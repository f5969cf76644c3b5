package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// insertEvents inserts any number of events in one round trip. ORDER BY makes seq follow the order
// of the slice.
const insertEvents = `
	INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, headers)
	SELECT id, aggregate_type, aggregate_id, event_type, payload::json, headers::jsonb
	FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) WITH ORDINALITY
	     AS event (id, aggregate_type, aggregate_id, event_type, payload, headers, position)
	ORDER BY position`

// Insert writes events into outbox_events as part of tx: they are delivered if tx commits and never
// otherwise. An event with a zero ID gets a UUIDv7; [New] is the way to know the id beforehand.
//
// Insert checks every event first and writes none if one is not valid. Where the order of one
// aggregate's events matters, lock the aggregate (SELECT … FOR UPDATE, or the update of its row)
// before Insert.
func Insert(ctx context.Context, tx pgx.Tx, events ...Event) error {
	if len(events) == 0 {
		return nil
	}
	rows, err := columns(events)
	if err != nil {
		return fmt.Errorf("insert outbox events: %w", err)
	}
	_, err = tx.Exec(ctx, insertEvents, rows.id, rows.aggregateType, rows.aggregateID, rows.eventType, rows.payload,
		rows.headers)
	if err != nil {
		return fmt.Errorf("insert outbox events: %w", err)
	}
	return nil
}

// New returns an event with a fresh UUIDv7 and payload encoded as JSON.
func New(aggregateType, aggregateID, eventType string, payload any) (Event, error) {
	body, err := json.Marshal(payload)
	if err != nil {
		return Event{}, fmt.Errorf("encode the payload of %s: %w", eventType, err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Event{}, fmt.Errorf("make an event id: %w", err)
	}
	return Event{ID: id, AggregateType: aggregateType, AggregateID: aggregateID, Type: eventType, Payload: body}, nil
}

// eventColumns holds events column by column, as unnest reads them.
type eventColumns struct {
	id                                                      []uuid.UUID
	aggregateType, aggregateID, eventType, payload, headers []string
}

func columns(events []Event) (eventColumns, error) {
	var rows eventColumns
	var problems []error
	for _, e := range events {
		if err := rows.add(e); err != nil {
			problems = append(problems, fmt.Errorf("event %s of %s %s: %w", e.Type, e.AggregateType, e.AggregateID,
				err))
		}
	}
	return rows, errors.Join(problems...)
}

func (c *eventColumns) add(e Event) error {
	if err := e.Validate(); err != nil {
		return err
	}
	if e.ID == uuid.Nil {
		id, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("make an event id: %w", err)
		}
		e.ID = id
	}
	if e.Headers == nil {
		e.Headers = map[string]string{}
	}
	headers, err := json.Marshal(e.Headers)
	if err != nil {
		return fmt.Errorf("encode headers: %w", err)
	}
	c.id = append(c.id, e.ID)
	c.aggregateType = append(c.aggregateType, e.AggregateType)
	c.aggregateID = append(c.aggregateID, e.AggregateID)
	c.eventType = append(c.eventType, e.Type)
	c.payload = append(c.payload, string(e.Payload))
	c.headers = append(c.headers, string(headers))
	return nil
}
