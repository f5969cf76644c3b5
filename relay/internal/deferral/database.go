package deferral

import (
	"context"

	"github.com/jackc/pglogrepl"

	"github.com/outbox-relay/outbox-relay/relay/internal/pause"
	"github.com/outbox-relay/outbox-relay/relay/outbox"
)

// The Worker reads and writes the database through these interfaces. [Store] and [Rows] implement
// them, and so does the table in memory with which tests run passes in virtual time.

type stored interface {
	deferralStore
	passStore
	deadLetterStore
	pauseStore
}

type deferralStore interface {
	Begin(ctx context.Context, d Deferral) error
	Summarize(ctx context.Context) ([]Summary, error)
	Forget(ctx context.Context, joined []Place) ([]Place, error)
	FirstXID(ctx context.Context) (uint64, error)
}

type passStore interface {
	Observe(ctx context.Context) (Observation, error)
	Pass(ctx context.Context, p Place, known string, fromSeq, events int64) error
	Join(ctx context.Context, p Place, known string, lsn pglogrepl.LSN) error
}

type deadLetterStore interface {
	areBlocked(ctx context.Context, groups []key) (map[key]bool, error)
	withoutDeadLetters(ctx context.Context, destination string, page []outbox.Envelope) ([]outbox.Envelope, error)
	explain(ctx context.Context, places []Place, reason string) error
}

type pauseStore interface {
	Pauses(ctx context.Context) ([]pause.Pause, error)
	ConfirmPause(ctx context.Context, destination string) error
}

type rows interface {
	passRows
	deferredRows
	tableState
}

type passRows interface {
	first(ctx context.Context, h *held, m mark) (lowest int64, err error)
	next(ctx context.Context, h *held, m mark, to string, after int64, wants wanted) (look, error)
	read(ctx context.Context, seqs []int64, awaitRoom func() error, take func(page []outbox.Envelope) error) error
}

type deferredRows interface {
	areVisible(ctx context.Context, seqs []int64) (bool, error)
	placeOf(ctx context.Context, destination string, seq int64) (p Place, found bool, err error)
}

type tableState interface {
	isDropped(ctx context.Context, h *held) (bool, error)
	missing(ctx context.Context, h *held) (missing, error)
}
