// Package watch ends a session if an operator renames a column, enables row security, turns a text
// column into bytes, adds or drops one of several tables, or makes the relay a synchronous standby.
// It warns while the walsender waits for standbys, and while a table is unlogged.
package watch

import (
	"context"
	"errors"
	"log/slog"
	"slices"
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

// interval is the pause between two checks. Once synchronous_standby_names matches the relay,
// commits of other clients wait for the next check and for the end of the stream.
const interval = 500 * time.Millisecond

// Watcher checks the database while a session runs. It uses its own connection, because a
// checkpoint that waits for a synchronous standby would delay it.
type Watcher struct {
	Pool    *pgxpool.Pool
	Commits *leadership.Commits
	Slot    string
	Table   outboxtable.Table // with the columns that the session reads
	// Publication is the one of the slot.
	Publication string
	PID         uint32        // of the walsender
	Timeout     time.Duration // of one check
	Retries     func(error)   // why the walsender waits; nil if it does not
	Unlogged    func(error)   // which tables are unlogged; nil if none is
	// NoteUnlogged stores that outbox tables were unlogged. The rows of that time are found later.
	NoteUnlogged func(ctx context.Context, relations []uint32) error
	Log          *slog.Logger

	standbys standbys
	unlogged string // the last warning about unlogged tables
}

// Run returns nil when ctx ends. It returns a [*operator.NeededError], a
// [*pgoutput.MissingColumnError], a [*replication.SynchronousError], [ErrColumnRenamed] or
// [ErrTablesChanged]. It retries after any other error, because other parts of the session find out
// whether the database is available.
func (w *Watcher) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := w.check(ctx)
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
	return operator.IsNeeded(err) || errors.As(err, &missing) || errors.As(err, &synchronous) ||
		errors.Is(err, ErrColumnRenamed) || errors.Is(err, ErrTablesChanged)
}

func (w *Watcher) check(ctx context.Context) error {
	if err := w.Commits.Check(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	if err := w.requireColumns(ctx); err != nil {
		return err
	}
	if err := w.requireTables(ctx); err != nil {
		return err
	}
	if err := outboxtable.RequireReadable(ctx, w.Pool, w.Table); err != nil {
		return err
	}
	if err := w.reportUnlogged(ctx); err != nil {
		return err
	}
	return w.reportStandbys(ctx)
}

// ErrColumnRenamed means that the table now has a column under another of its configured names.
var ErrColumnRenamed = errors.New("a column of the outbox table was renamed")

// requireColumns returns an error if a column that the session's statements name has been renamed.
// The stream is not affected.
func (w *Watcher) requireColumns(ctx context.Context) error {
	if !w.Table.HasAlternatives() {
		return nil
	}
	now, err := members.Look(ctx, w.Pool, w.Table)
	if err != nil {
		return err
	}
	for _, table := range now.Each() {
		before, found := w.Table.Named(table.String())
		if found && !slices.Equal(names(table), names(before)) {
			return ErrColumnRenamed
		}
	}
	return nil
}

// ErrTablesChanged means that one of several tables came, or that one is no longer there. The next
// session has those of then.
var ErrTablesChanged = errors.New("the outbox tables of the publication changed")

// requireTables leaves a single table to the Checkpointer, which stores that the publication
// changed.
func (w *Watcher) requireTables(ctx context.Context) error {
	if !w.Table.IsSeveral() {
		return nil
	}
	changed, err := members.IsChanged(ctx, w.Pool, w.Table)
	if err == nil && changed {
		err = ErrTablesChanged
	}
	return err
}

// names returns the columns that the statements name.
func names(t outboxtable.Table) (columns []string) {
	for _, mapped := range t.Mapped() {
		columns = append(columns, mapped.Column)
	}
	return columns
}
