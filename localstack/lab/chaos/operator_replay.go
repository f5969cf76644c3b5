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

// noReplay is what the command says where there is nothing to send yet, or a replay is under way.
var noReplay = []string{"no event that was delivered is selected", "is under way", "has used slot", "has not delivered anything yet"}

// replay asks for a replay, or resumes one, and does not wait for its end. It reports whether it came to be.
func (r *run) replay(ctx context.Context, args ...string) (bool, error) {
	said, err := r.command(ctx, append([]string{"replay", "--no-wait"}, args...)...)
	if err != nil && slices.ContainsFunc(noReplay, func(text string) bool { return strings.Contains(said, text) }) {
		return false, nil
	}
	return err == nil, err
}

// replaySome has delivered events sent once more, faster or slower than others are written.
func replaySome(ctx context.Context, a *act) error {
	selection, err := a.selectDelivered(ctx)
	if err != nil {
		return err
	}
	rate := strconv.Itoa(50 + a.random.IntN(1000))
	return a.noteIfNone(a.replay(ctx, append(selection, "--rate", rate, "--yes")...))
}

// selectDelivered picks events as the command takes them: of an aggregate, of a time, or by their ids.
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
	rows, err := a.admin.Query(ctx, `SELECT '--event-id=' || id FROM committed ORDER BY hashint8extended(seq, $1) LIMIT 20`, a.random.Int64())
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

// stopOrResume stops the replay that is under way, has one go on that was stopped, or begins one and stops that.
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

// unfinished returns the replays that are not done, and the state of the first: the one that is under way, if one is.
func (r *run) unfinished(ctx context.Context) (ids []string, state string, err error) {
	err = r.admin.QueryRow(ctx, `
		SELECT coalesce(array_agg(id::text ORDER BY state, id), '{}'), coalesce(min(state), '') FROM outbox_replays WHERE state <> 'done'`).Scan(&ids, &state)
	if err != nil {
		return nil, "", fmt.Errorf("look for replays: %w", err)
	}
	return ids, state, nil
}

// finishReplays has every replay that is not done go on, one after the other and fast, and waits for its end. The history shows one
// that does not come there.
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
		err := r.admin.QueryRow(ctx, `SELECT EXISTS (SELECT FROM outbox_replays WHERE state = 'running')`).Scan(&running)
		return err == nil && !running
	})
}
