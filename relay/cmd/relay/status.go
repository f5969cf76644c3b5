package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/control"
	"github.com/outbox-relay/outbox-relay/relay/internal/status"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

const (
	// watchInterval is the pause between two screens.
	watchInterval = time.Second
	// statusTimeout bounds one read of the database.
	statusTimeout = 10 * time.Second
)

type statusCommand struct {
	database
	Slot  string `env:"RELAY_SLOT" default:"outbox_relay" help:"Replication slot."`
	JSON  bool   `name:"json" help:"Print the status as JSON, in the form that /status serves."`
	Watch bool   `help:"Repeat it every second until SIGINT (Ctrl-C)."`
}

// exitError ends the program with an exit code. Without an error the program prints nothing more.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// Run shows the status of the slot's relays. The exit code is that of a monitoring plug-in: 0 ok, 1
// warning, 2 critical, and 3 if the database does not answer.
func (c *statusCommand) Run(ctx context.Context, w io.Writer) error {
	pool, err := control.OpenWatchedPool(ctx, c.connect, showWait)
	if err != nil {
		return unknownStatus(err)
	}
	defer control.Close(pool)
	if c.Watch {
		return c.watch(ctx, pool, w)
	}
	level, err := c.show(ctx, pool, w)
	switch {
	case err != nil:
		return unknownStatus(err)
	case level != status.OK:
		return &exitError{code: int(level)}
	}
	return nil
}

// unknownStatus returns an error with the exit code of an unknown status.
func unknownStatus(err error) error { return &exitError{int(status.Unknown), explain(err)} }

// watch shows the status, or an error, every second until ctx ends.
func (c *statusCommand) watch(ctx context.Context, pool *pgxpool.Pool, w io.Writer) error {
	for ctx.Err() == nil {
		var screen bytes.Buffer
		if _, err := c.show(ctx, pool, &screen); err != nil {
			fmt.Fprintf(&screen, "unknown: %v\n", explain(err))
		}
		if t, is := w.(*terminal); is && !c.JSON {
			if err := t.clear(); err != nil {
				return err
			}
		}
		if _, err := screen.WriteTo(w); err != nil {
			return err
		}
		task.Sleep(ctx, watchInterval)
	}
	return nil
}

func (c *statusCommand) show(ctx context.Context, pool *pgxpool.Pool, w io.Writer) (status.Level, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	s, err := status.Collect(ctx, pool, c.Slot)
	if err != nil {
		return status.Unknown, err
	}
	if c.JSON {
		encoder := json.NewEncoder(w)
		if !c.Watch {
			encoder.SetIndent("", "  ")
		}
		return s.Level, encoder.Encode(s)
	}
	return s.Level, s.Write(w)
}
