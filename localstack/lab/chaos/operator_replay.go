package chaos

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// noReplay are the messages of a command that found nothing to replay, or another replay under way.
var noReplay = []string{
	"no event that was delivered is selected", "is under way", "has used slot",
	"has not delivered anything yet",
}

// replay starts or resumes a replay without waiting for its end. It reports whether the replay
// exists.
func (r *run) replay(ctx context.Context, args ...string) (bool, error) {
	said, err := r.command(ctx, append([]string{"replay", "--no-wait"}, args...)...)
	if err != nil && slices.ContainsFunc(noReplay, func(text string) bool { return strings.Contains(said, text) }) {
		return false, nil
	}
	return err == nil, err
}

// replaysRows excludes tables whose delivered events cannot be selected.
func replaysRows(p *Plan) bool { return p.shape().replays() }

// replaySome replays delivered events, faster or slower than writers write.
func replaySome(ctx context.Context, a *act) error {
	selection, err := a.selectDelivered(ctx)
	if err != nil {
		return err
	}
	rate := strconv.Itoa(50 + a.random.IntN(1000))
	return a.noteIfNone(a.replay(ctx, append(selection, "--rate", rate, "--yes")...))
}

// selectDelivered returns a random selection for the command: by aggregate, by time, or by ids.
func (a *act) selectDelivered(ctx context.Context) ([]string, error) {
	all := a.aggregates()
	aggregate := all[a.random.IntN(len(all))]
	since := time.Now().Add(-a.within(2 * a.plan.Load.Length)).Format(time.RFC3339Nano)
	switch a.random.IntN(4) {
	case 0:
		return []string{"--aggregate", aggregate.key()}, nil
	case 1:
		return []string{"--since", since}, nil
	case 2:
		return []string{"--since", since, "--aggregate", aggregate.key()}, nil
	}
	rows, err := a.admin.Query(ctx,
		`SELECT '--event-id=' || id FROM committed WHERE NOT emitted ORDER BY hashint8extended(seq, $1) LIMIT 20`,
		a.random.Int64())
	if err != nil {
		return nil, fmt.Errorf("look for events: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for events: %w", err)
	}
	if len(ids) == 0 {
		return []string{"--since", since}, nil
	}
	return ids, nil
}

// stopOrResume stops the running replay or resumes a stopped one. Without either, it starts a
// replay and stops that.
func stopOrResume(ctx context.Context, a *act) error {
	ids, state, err := a.unfinished(ctx)
	if err == nil && len(ids) == 0 {
		if err = replaySome(ctx, a); err == nil {
			pause(ctx, a.within(1500*time.Millisecond))
			ids, state, err = a.unfinished(ctx)
		}
	}
	switch {
	case err != nil:
		return err
	case len(ids) == 0:
		a.note = missed
		return nil
	case state == "stopped":
		return a.noteIfNone(a.replay(ctx, "--resume", ids[0]))
	}
	_, err = a.command(ctx, "replay", "--stop", ids[0])
	return err
}

// unfinished returns the replays that are not done, and the state of the first. A running replay
// comes first.
func (r *run) unfinished(ctx context.Context) (ids []string, state string, err error) {
	err = r.admin.QueryRow(ctx, `
		SELECT coalesce(array_agg(id::text ORDER BY state, id), '{}'), coalesce(min(state), '') FROM outbox_replays
		WHERE state <> 'done'`).Scan(&ids, &state)
	if err != nil {
		return nil, "", fmt.Errorf("look for replays: %w", err)
	}
	return ids, state, nil
}

// finishReplays resumes every unfinished replay in turn at a high rate, and waits for its end. The
// history shows a replay that does not end.
func (r *run) finishReplays(ctx context.Context) error {
	ids, _, err := r.unfinished(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := r.replay(ctx, "--resume", id, "--rate", "3000"); err != nil {
			return err
		}
		r.awaitReplayed(ctx)
	}
	return nil
}

func (r *run) awaitReplayed(ctx context.Context) {
	await(ctx, r.options.Settle, func() bool {
		var running bool
		err := r.admin.QueryRow(ctx, `SELECT EXISTS (SELECT FROM outbox_replays
			WHERE state = 'running')`).Scan(&running)
		return err == nil && !running
	})
}
