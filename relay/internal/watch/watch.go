// Package watch ends a session when something changes with which the relay must not continue.
package watch

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/leadership"
	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/operator"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/pgoutput"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

// interval is the pause between two looks. Commits of other programs wait for it, and for the end of
// the stream, once synchronous_standby_names matches the relay.
const interval = 500 * time.Millisecond

// Watcher looks while a session runs. It has a connection of its own: a checkpoint that waits for a
// synchronous standby would hold it up.
type Watcher struct {
	Pool    *pgxpool.Pool
	Commits *leadership.Commits
	Slot    string
	Table   pgoutput.Table // as the session reads it
	Timeout time.Duration  // of one look
	Log     *slog.Logger
}

// Run watches until ctx ends, and then returns nil. It returns a [*operator.NeededError], a
// [*pgoutput.MissingColumnError], a [*replication.SynchronousError] or [ErrColumnRenamed], and retries
// any other error: other parts of the session find out whether the database can be used.
func (w *Watcher) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := w.look(ctx)
		switch {
		case ctx.Err() != nil:
		case isFinal(err):
			return err
		case err != nil:
			w.Log.Debug("watcher: trying again", "slot", w.Slot, "err", err)
		}
		task.Sleep(ctx, interval)
	}
	return nil
}

func isFinal(err error) bool {
	var missing *pgoutput.MissingColumnError
	var synchronous *replication.SynchronousError
	return operator.IsNeeded(err) || errors.As(err, &missing) || errors.As(err, &synchronous) || errors.Is(err, ErrColumnRenamed)
}

func (w *Watcher) look(ctx context.Context) error {
	if err := w.Commits.Check(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	if err := w.requireColumns(ctx); err != nil {
		return err
	}
	return outboxtable.RequireReadable(ctx, w.Pool, w.Table)
}

// ErrColumnRenamed says that the table has a column under another of the names that the settings
// have for it.
var ErrColumnRenamed = errors.New("a column of the outbox table was renamed")

// requireColumns ends a session whose statements name a column that has another name by now. The
// stream reads rows of either.
func (w *Watcher) requireColumns(ctx context.Context) error {
	if w.Table.Alternatives == nil {
		return nil
	}
	table, err := members.Look(ctx, w.Pool, w.Table)
	if err == nil && table.Columns != w.Table.Columns {
		err = ErrColumnRenamed
	}
	return err
}
