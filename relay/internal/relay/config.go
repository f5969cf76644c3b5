package relay

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/backlog"
	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/control"
	"github.com/outbox-relay/outbox-relay/relay/internal/deferral"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/leadership"
	"github.com/outbox-relay/outbox-relay/relay/internal/metrics"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// Config is the validated configuration of a relay.
type Config struct {
	Connect control.Connect
	// Slot is the replication slot. Publication is streamed, and its rows of Table are events.
	Slot        string
	Publication string
	Table       outboxtable.Table
	// CheckTables checks tables of several that came while the relay ran, as others are checked
	// before the start.
	CheckTables func(ctx context.Context, pool *pgxpool.Pool, came outboxtable.Table) error
	// Emitted is the prefix of the messages of pg_logical_emit_message that are events. Empty: none
	// are.
	Emitted string
	// Start decides whether rows that are older than the first slot are published.
	Start leadership.Start
	// RowsStay says whether rows stay in the outbox table until they are delivered, so that those
	// of an unavailable destination can wait there.
	RowsStay deferral.RowsStay
	// HaltOnSlotLoss stops the relay instead of publishing the events that the slot may have
	// missed.
	HaltOnSlotLoss bool
	// Audit compares the rows of the outbox table with the rows that were streamed.
	Audit bool
	// SenderTimeout is the wal_sender_timeout of the replication connection: how long a relay that
	// froze or was cut off keeps the slot. The take-over by a standby takes slightly longer.
	SenderTimeout time.Duration
	// Retention is the age at which delivered rows are removed from the outbox table. Zero keeps
	// them.
	Retention time.Duration
	// DrainTimeout bounds how long a stopping relay waits for the delivery of the events that it
	// has read.
	DrainTimeout time.Duration
	Window       checkpoint.Window
	Delivery     delivery.Options
	Router       *route.Router
	Destinations []delivery.Destination // in the order of Router.Destinations, without the blocked groups
	Health       *health.Health
	Metrics      *metrics.Metrics
	Observer     delivery.Observer // Metrics, or an observer that calls Metrics
	Recorder     delivery.Recorder // of accepted events; nil: none
	Backlog      *backlog.Watch
	Log          *slog.Logger
}

// names returns the names of the destinations, by index.
func (c *Config) names() []string {
	names := make([]string, len(c.Destinations))
	for i, d := range c.Destinations {
		names[i] = d.Name
	}
	return names
}

func (c *Config) publication() slot.Publication { return c.Table.PublishedBy(c.Publication) }
