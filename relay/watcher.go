package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/relay/internal/members"
	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

// watchInterval is how often the watcher looks. Commits of others wait for it, and for the end of the stream, once
// synchronous_standby_names matches the relay.
const watchInterval = 500 * time.Millisecond

// watch ends the session when something was changed with which the relay must not go on. It has a connection of its own: a
// checkpoint that waits for a synchronous standby would hold it up. A look that fails is repeated, as the keeper finds out whether the
// database can be used.
func (s *session) watch(ctx context.Context) error {
	for ctx.Err() == nil {
		err := s.look(ctx)
		var synchronous *replication.SynchronousError
		switch {
		case ctx.Err() != nil:
		case isFinal(err), errors.As(err, &synchronous), errors.Is(err, errColumnRenamed):
			return err
		case err != nil:
			s.Log.Debug("watcher: trying again", "slot", s.Slot, "err", err)
		}
		task.Sleep(ctx, watchInterval)
	}
	return nil
}

func (s *session) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.SenderTimeout)
	defer cancel()
	if err := s.requireAsynchronous(ctx); err != nil {
		return err
	}
	if err := s.requireColumns(ctx); err != nil {
		return err
	}
	return s.requireReadable(ctx)
}

// errColumnRenamed says that the table has a column under another of the names that the settings
// have for it.
var errColumnRenamed = errors.New("a column of the outbox table was renamed")

// requireColumns ends a session whose statements name a column that has another name by now. The
// stream reads rows of either.
func (s *session) requireColumns(ctx context.Context) error {
	if s.Table.Alternatives == nil {
		return nil
	}
	table, err := members.Look(ctx, s.pool, s.Table)
	if err == nil && table.Columns != s.Table.Columns {
		err = errColumnRenamed
	}
	return err
}

// requireAsynchronous returns a [*replication.SynchronousError] while commits would wait for the stream.
func (r *relay) requireAsynchronous(ctx context.Context) error {
	setting, err := slot.SynchronousStandbyNames(ctx, r.pool)
	if err != nil {
		return err
	}
	return replication.CheckSynchronous(setting, r.Slot)
}

// awaitAsynchronous waits until the setting that refused no longer matches the relay.
func (r *relay) awaitAsynchronous(ctx context.Context, refused *replication.SynchronousError) error {
	for logged := (time.Time{}); ; {
		r.releaseCommits(ctx) // each time, as the walsender may have been slow to end
		r.Health.Failed(refused)
		if time.Since(logged) > warnInterval {
			logged = time.Now()
			r.Log.Warn("waiting: the relay must not be a synchronous standby", "slot", r.Slot, "err", refused)
		}
		if task.Sleep(ctx, watchInterval); ctx.Err() != nil {
			return ctx.Err()
		}
		if err := r.lookAsynchronous(ctx); !errors.As(err, &refused) {
			return err
		}
	}
}

func (r *relay) lookAsynchronous(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.SenderTimeout)
	defer cancel()
	return r.requireAsynchronous(ctx)
}

// releaseCommits has the other standbys answer, once the stream has ended: commits that waited for the relay go on only with the
// next answer of another synchronous standby, which may take ten seconds when nothing is written.
func (r *relay) releaseCommits(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, watchInterval)
	defer cancel()
	if err := slot.WriteToLog(ctx, r.pool); err != nil {
		r.Log.Debug("commits may wait for the next answer of a standby", "slot", r.Slot, "err", err)
	}
}

// requireReadable returns a [*RefusedError] where the relay would not read the tables as they are.
func (r *relay) requireReadable(ctx context.Context) error {
	hidden, err := outboxtable.FindRowSecurity(ctx, r.pool, r.Table)
	if err != nil {
		return err
	}
	binary, err := outboxtable.FindBinaryColumns(ctx, r.pool, r.Table)
	if err != nil {
		return err
	}
	var reasons []string
	for _, h := range hidden {
		reasons = append(reasons, fmt.Sprintf("%s: %s", h.Explanation(), h.Statement()))
	}
	for _, b := range binary {
		reasons = append(reasons, fmt.Sprintf("%s: %s", b.Explanation(), b.Statement()))
	}
	if reasons == nil {
		return nil
	}
	return &RefusedError{Reason: strings.Join(reasons, "\n")}
}
