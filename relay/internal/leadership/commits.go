package leadership

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/outbox-relay/outbox-relay/relay/internal/health"
	"github.com/outbox-relay/outbox-relay/relay/internal/replication"
	"github.com/outbox-relay/outbox-relay/relay/internal/slot"
	"github.com/outbox-relay/outbox-relay/relay/internal/task"
)

const (
	// settingInterval is the pause between two reads of synchronous_standby_names.
	settingInterval = 500 * time.Millisecond
	// warnInterval is the time between two warnings about the same setting.
	warnInterval = time.Minute
)

// Commits keeps the commits of other clients from waiting for the relay, which must not be a
// synchronous standby.
type Commits struct {
	Pool    *pgxpool.Pool
	Slot    string
	Timeout time.Duration // of one read
	Health  *health.Health
	Log     *slog.Logger
}

// Check returns a [*replication.SynchronousError] while commits would wait for the stream.
func (c *Commits) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	setting, err := slot.SynchronousStandbyNames(ctx, c.Pool)
	if err != nil {
		return err
	}
	return replication.CheckSynchronous(setting, c.Slot)
}

// Await waits until synchronous_standby_names no longer matches the relay. It returns an error if a
// read fails or ctx ends.
func (c *Commits) Await(ctx context.Context, refused *replication.SynchronousError) error {
	for logged := (time.Time{}); ; {
		c.Release(ctx) // repeated, because the walsender may have ended late
		c.Health.Failed(refused)
		if time.Since(logged) > warnInterval {
			logged = time.Now()
			c.Log.Warn("waiting: the relay must not be a synchronous standby",
				"event", "synchronous_standby", "slot", c.Slot, "err", refused)
		}
		if !task.Sleep(ctx, settingInterval) {
			return ctx.Err()
		}
		if err := c.Check(ctx); !errors.As(err, &refused) {
			return err
		}
	}
}

// Release makes the other standbys answer after the stream has ended. Commits that waited for the
// relay continue only with the next answer of another synchronous standby. Without writes that
// answer may take ten seconds.
func (c *Commits) Release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settingInterval)
	defer cancel()
	if err := slot.WriteToLog(ctx, c.Pool); err != nil {
		c.Log.Debug("commits may wait for the next answer of a standby", "slot", c.Slot, "err", err)
	}
}
