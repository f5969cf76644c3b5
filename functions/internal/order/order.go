// Package order is what an order is, which orders are taken, and how one is stored together with its event.
package order

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// AggregateType and EventCreated name an order and its first event to consumers.
const (
	AggregateType = "order"
	EventCreated  = "order.created"
)

// Draft is an order as a client asks for it.
type Draft struct {
	CustomerID string `json:"customer_id"`
	Currency   string `json:"currency"` // ISO 4217
	Lines      []Line `json:"lines"`
}

// Line is one position of an order. UnitPrice counts the currency's minor units.
type Line struct {
	SKU       string `json:"sku"`
	Quantity  int64  `json:"quantity"`
	UnitPrice int64  `json:"unit_price"`
}

// Order is a stored order. Its JSON is what the API answers and what the event order.created carries.
type Order struct {
	ID uuid.UUID `json:"id"`
	Draft
	Total     int64     `json:"total"` // minor units
	CreatedAt time.Time `json:"created_at"`
}

// New makes an order of a draft that [Draft.Validate] finds nothing wrong with.
func New(draft Draft, now time.Time) (Order, error) {
	total, ok := draft.Total()
	if !ok {
		return Order{}, fmt.Errorf("the total is more than %d", MaxAmount)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Order{}, fmt.Errorf("make an order id: %w", err)
	}
	// Postgres keeps microseconds: a longer fraction would not be read back.
	return Order{ID: id, Draft: draft, Total: total, CreatedAt: now.UTC().Truncate(time.Microsecond)}, nil
}

// Created returns the event that says so. headers become message attributes.
func (o Order) Created(headers map[string]string) (outbox.Event, error) {
	event, err := outbox.New(AggregateType, o.ID.String(), EventCreated, o)
	if err != nil {
		return outbox.Event{}, err
	}
	event.Headers = headers
	return event, nil
}
