package relay

import (
	"log/slog"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/backlog"
	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/control"
	"github.com/outbox-relay/outbox-relay/relay/internal/delivery"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/leadership"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/internal/route"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

// Config is what a relay works with. Everything in it has been checked.
type Config struct {
	Connect control.Connect
	// Slot is the replication slot, Publication what is streamed, Table what of it are events.
	Slot        string
	Publication string
	Table       pgoutput.Table
	// Start says what becomes of rows that are older than the first slot.
	Start leadership.Start
	// HaltOnSlotLoss stops the relay where it would otherwise publish from the table what the slot may have missed.
	HaltOnSlotLoss bool
	// Audit compares the rows of the outbox table with those that were streamed.
	Audit bool
	// SenderTimeout is the wal_sender_timeout of the replication connection: how long a relay that froze or was cut off keeps
	// the slot. A standby needs some time on top of it.
	SenderTimeout time.Duration
	// Retention is the age at which delivered rows are removed from the outbox table; 0 keeps them.
	Retention time.Duration
	// DrainTimeout bounds how long a relay that stops waits until what it has read is delivered.
	DrainTimeout time.Duration
	Window       checkpoint.Window
	Delivery     delivery.Options
	Router       *route.Router
	Destinations []delivery.Destination // in the order of Router.Destinations, without what is blocked
	Health       *health.Health
	Metrics      *health.Metrics
	Observer     delivery.Observer // of delivery: Metrics, or one that tells them
	Recorder     delivery.Recorder // of accepted events; nil: none
	Backlog      *backlog.Watch
	Log          *slog.Logger
}

func (c *Config) publication() slot.Publication {
	return slot.Publication{Name: c.Publication, Table: c.Table.String()}
}
