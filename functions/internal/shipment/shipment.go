// Package shipment writes a shipment for each new order.
package shipment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/trace"

	"github.com/outbox-relay/outbox-relay/functions/internal/order"
	"github.com/outbox-relay/outbox-relay/functions/internal/tracing"
	"github.com/outbox-relay/outbox-relay/relay/inbox"
)

// Consumer is the name under which the inbox records the events.
const Consumer = "shipping"

const insertShipment = `INSERT INTO shipments (id, order_id, customer_id, lines) VALUES ($1, $2, $3, $4)`

// readCommitted overrides the default of the database. A level above it fails for an event that
// another process records at the same time: see [inbox.Once].
var readCommitted = pgx.TxOptions{IsoLevel: pgx.ReadCommitted}

// Store writes shipments to Postgres.
type Store struct {
	pool *pgxpool.Pool

	mu     sync.Mutex
	pruned time.Time // the last call of prune
}

// NewStore returns a store on pool.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// Create writes the shipment of an event order.created, and records the event in the same
// transaction. It writes nothing if the event is recorded already, and returns nil too. It accepts
// and ignores events of other types, because a queue may get more than its consumer needs.
func (s *Store) Create(ctx context.Context, event inbox.Event) error {
	if event.Type != order.EventCreated {
		return nil
	}
	o, err := decode(event)
	if err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("make a shipment id: %w", err)
	}
	ctx, span := tracing.Start(ctx, "write shipment", trace.SpanKindInternal)
	err = pgx.BeginTxFunc(ctx, s.pool, readCommitted, func(tx pgx.Tx) error {
		isNew, err := inbox.Once(ctx, tx, Consumer, event)
		if err != nil || !isNew {
			return err
		}
		if _, err := tx.Exec(ctx, insertShipment, id, o.ID, o.CustomerID, len(o.Lines)); err != nil {
			return fmt.Errorf("insert the shipment of order %s: %w", o.ID, err)
		}
		return nil
	})
	tracing.End(span, err)
	return err
}

// decode reads the order from the payload. An error does not contain the payload.
func decode(event inbox.Event) (order.Order, error) {
	var o order.Order
	if err := json.Unmarshal(event.Payload, &o); err != nil {
		return order.Order{}, fmt.Errorf("decode the payload of event %s: %w", event.ID, err)
	}
	var problems []error
	if o.ID == uuid.Nil {
		problems = append(problems, errors.New("it has no id"))
	}
	if o.CustomerID == "" {
		problems = append(problems, errors.New("it has no customer_id"))
	}
	if len(o.Lines) == 0 {
		problems = append(problems, errors.New("it has no lines"))
	}
	if err := errors.Join(problems...); err != nil {
		return order.Order{}, fmt.Errorf("the payload of event %s is no order: %w", event.ID, err)
	}
	return o, nil
}
