package leadership

import (
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/metrics"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

const (
	// standbyInterval is the pause between two checks whether the slot is free. With a short
	// wal_sender_timeout a standby checks standbyLooks times in that time. A take-over has a ninth
	// of wal_sender_timeout, and a check takes a quarter of that.
	standbyInterval = 250 * time.Millisecond
	standbyLooks    = 36
)

// Acquirer acquires the slot for one session of a relay.
type Acquirer struct {
	Pool        *pgxpool.Pool
	Store       *checkpoint.Store
	Open        Opener
	Commits     *Commits
	Slot        string
	Publication string
	Table       outboxtable.Table
	// Emitted is the prefix of emitted messages that are events, which the log alone has. Empty:
	// none are.
	Emitted string
	// Start selects the rows to publish that are older than the first slot.
	Start Start
	// HaltOnSlotLoss makes the relay return an error instead of publishing the events that the slot
	// may have missed.
	HaltOnSlotLoss bool
	// Undecodable is the server's error if it fails to decode the log at one place again and again.
	Undecodable error
	// SenderTimeout is the wal_sender_timeout of the stream. It bounds each step, too.
	SenderTimeout time.Duration
	Health        *health.Health
	Metrics       *metrics.Metrics
	Log           *slog.Logger
}

func (a *Acquirer) publication() slot.Publication { return a.Table.PublishedBy(a.Publication) }

// Start decides at the first start which existing rows of the outbox table are published.
type Start struct {
	Mode  StartMode
	Since time.Time // with StartSince
}

// StartMode is the kind of a [Start].
type StartMode string

const (
	StartUndecided StartMode = ""      // refuse to start if there are rows
	StartTable     StartMode = "table" // publish them all
	StartNow       StartMode = "now"   // publish none
	StartSince     StartMode = "since" // publish those created at or after a time
)
