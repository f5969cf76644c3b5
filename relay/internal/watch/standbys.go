package watch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// standbyPatience is how long the walsender may wait for standbys without a warning. One that
	// works needs milliseconds.
	standbyPatience = 5 * time.Second
	// warnInterval is the time between two warnings about the same wait.
	warnInterval = time.Minute
)

// standbys is how long the walsender has waited for standbys without a break.
type standbys struct{ since, warned time.Time }

// awaited selects synchronized_standby_slots while the walsender holds the log back until physical
// standbys have it. A walsender of a failover slot does so since Postgres 17. Without the setting
// the server reads no view.
// https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-SYNCHRONIZED-STANDBY-SLOTS
const awaited = `
	SELECT current_setting('synchronized_standby_slots', true) FROM pg_stat_activity
	WHERE coalesce(current_setting('synchronized_standby_slots', true), '') <> ''
		AND pid = $1 AND wait_event = 'WaitForStandbyConfirmation'`

// reportStandbys warns while the walsender waits for standbys. The server says so in its own log
// alone, and to the relay it looks as if no event was written.
func (w *Watcher) reportStandbys(ctx context.Context) error {
	var setting string
	err := w.Pool.QueryRow(ctx, awaited, w.PID).Scan(&setting)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		w.standbys = standbys{}
		w.Retries(nil)
		return nil
	case err != nil:
		return fmt.Errorf("look at the walsender: %w", err)
	}
	now := time.Now()
	if w.standbys.since.IsZero() {
		w.standbys.since = now
	}
	if now.Sub(w.standbys.since) < standbyPatience {
		return nil
	}
	err = fmt.Errorf("the server holds the log back until the standbys in synchronized_standby_slots = '%s' have "+
		"received it: start these standbys, or remove the slots of those that are gone, as in ALTER SYSTEM SET "+
		"synchronized_standby_slots = 'standby_1' and SELECT pg_reload_conf()", setting)
	w.Retries(err)
	if now.Sub(w.standbys.warned) >= warnInterval {
		w.standbys.warned = now
		w.Log.Warn("no event arrives", "event", "standbys_awaited", "slot", w.Slot, "err", err)
	}
	return nil
}
