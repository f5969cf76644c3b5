package leadership

import (
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/checkpoint"
	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
)

const (
	// standbyInterval is how often a standby looks whether the slot is free. With a short
	// wal_sender_timeout it looks standbyLooks times in that: a quarter of the time that is left for a
	// take-over, which is a ninth of it.
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
	Table       pgoutput.Table
	// Start says which rows are published that are older than the first slot.
	Start Start
	// HaltOnSlotLoss returns an error where the relay would otherwise publish from the table the events
	// that the slot may have missed.
	HaltOnSlotLoss bool
	// SenderTimeout is the wal_sender_timeout of the stream. It bounds each step, too.
	SenderTimeout time.Duration
	Health        *health.Health
	Metrics       *health.Metrics
	Log           *slog.Logger
}

func (a *Acquirer) publication() slot.Publication {
	return slot.Publication{Name: a.Publication, Table: a.Table.String()}
}

// Start says what a relay does at its first start with the rows that the outbox table already has.
type Start struct {
	Mode  StartMode
	Since time.Time // with StartSince
}

// StartMode is the kind of a [Start].
type StartMode string

// The modes.
const (
	StartUndecided StartMode = ""      // refuse to start if there are rows
	StartTable     StartMode = "table" // publish them all
	StartNow       StartMode = "now"   // publish none
	StartSince     StartMode = "since" // publish those created at or after a time
)
