package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

const (
	// lookInterval is the pause between two reads of the progress.
	lookInterval = 250 * time.Millisecond
	// progressInterval is the time between two lines of progress.
	progressInterval = 2 * time.Second
)

// waiter waits for work that the running relay does, and shows the operator its progress. The work
// itself does not need the waiting command.
type waiter struct {
	pool *pgxpool.Pool
	slot string
	out  io.Writer
}

// await calls look until the work is done. Every progressInterval it prints a line of progress, or
// a warning if no relay holds the slot. It returns the error of look, or the error of ctx if ctx
// ends before the work is done.
func (w waiter) await(ctx context.Context, look func(context.Context) (done bool, err error),
	line func() string,
) error {
	for reportedAt := time.Now(); ; {
		done, err := look(ctx)
		switch {
		case err == nil && done:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		}
		if time.Since(reportedAt) >= progressInterval {
			reportedAt = time.Now()
			if err := w.report(ctx, line); err != nil && ctx.Err() == nil {
				return err
			}
		}
		if !task.Sleep(ctx, lookInterval) {
			return ctx.Err()
		}
	}
}

// report prints a line of progress, or a warning if no relay holds the slot.
func (w waiter) report(ctx context.Context, line func() string) error {
	isHeld, err := w.warnUnheld(ctx)
	if err != nil || !isHeld {
		return err
	}
	_, err = fmt.Fprintln(w.out, line())
	return err
}

// warnUnheld prints a warning if no relay holds the slot. It returns whether one does.
func (w waiter) warnUnheld(ctx context.Context) (isHeld bool, err error) {
	state, err := slot.LookUp(ctx, w.pool, w.slot)
	if err != nil || state.Active {
		return state.Active, err
	}
	_, err = fmt.Fprintf(w.out, "no relay runs: slot %s has no holder, and nothing is sent until a relay starts\n",
		w.slot)
	return false, err
}

// showWait tells the operator which peer a command waits for, and how long. The standard error does
// not mix with the output that other programs read.
func showWait(peer string, limit time.Duration) {
	if limit == 0 {
		fmt.Fprintf(os.Stderr, "waiting for %s until it answers, or until SIGINT (Ctrl-C)\n", peer)
		return
	}
	fmt.Fprintf(os.Stderr, "waiting for %s, giving up after %s\n", peer, limit.Round(time.Second))
}
