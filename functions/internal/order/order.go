// Package order validates orders, and stores each one together with its event.
package order

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// AggregateType and EventCreated are the names of an order and of its first event for consumers.
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

// Line is one position of an order. UnitPrice is in minor units of the currency.
type Line struct {
	SKU       string `json:"sku"`
	Quantity  int64  `json:"quantity"`
	UnitPrice int64  `json:"unit_price"`
}

// Order is a stored order. Its JSON is the API's response and the payload of the event
// order.created.
type Order struct {
	ID uuid.UUID `json:"id"`
	Draft
	Total     int64     `json:"total"` // minor units
	CreatedAt time.Time `json:"created_at"`
}

// New makes an order from a draft that [Draft.Validate] accepts.
func New(draft Draft, now time.Time) (Order, error) {
	total, ok := draft.Total()
	if !ok {
		return Order{}, fmt.Errorf("the total is more than %d", MaxAmount)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Order{}, fmt.Errorf("make an order id: %w", err)
	}
	// Postgres stores microseconds, so a finer time would differ from the stored one.
	return Order{ID: id, Draft: draft, Total: total, CreatedAt: now.UTC().Truncate(time.Microsecond)}, nil
}

// Created returns the event order.created. headers become message attributes.
func (o Order) Created(headers map[string]string) (outbox.Event, error) {
	event, err := outbox.New(AggregateType, o.ID.String(), EventCreated, o)
	if err != nil {
		return outbox.Event{}, err
	}
	event.Headers = headers
	return event, nil
}
