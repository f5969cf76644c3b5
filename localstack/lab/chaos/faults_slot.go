package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// slotFaults make the slot lose events.
var slotFaults = []fault{
	{name: "slot dropped, down", weight: 4, repeats: true, losesLog: true, do: whileDown(dropSlot)},
	{name: "slot dropped, running", weight: 4, repeats: true, losesLog: true, do: dropSlot},
	{name: "slot dropped, broker unavailable", weight: 2, repeats: true, losesLog: true, do: dropSlotBehindAnOutage},
	{name: "slot recreated", weight: 4, repeats: true, losesLog: true, do: whileDown(recreateSlot)},
	{name: "slot recreated, running", weight: 2, repeats: true, losesLog: true, do: recreateSlot},
	{name: "slot advanced", weight: 4, repeats: true, losesLog: true, do: whileDown(advanceSlot)},
	{name: "slot advanced, running", weight: 2, repeats: true, losesLog: true, do: advanceSlot},
	{name: "slot invalidated", weight: 2, repeats: true, losesLog: true, do: whileDown(invalidateSlot)},
	{name: "checkpoint row deleted", weight: 1, repeats: true, losesLog: true, do: whileDown(deleteRow)},
}

// whileDown stops or kills every relay, calls do, and starts the relays again.
func whileDown(do func(context.Context, *act) error) func(context.Context, *act) error {
	return func(ctx context.Context, a *act) error {
		a.takeDown()
		pause(ctx, a.within(400*time.Millisecond)) // events are written meanwhile
		if err := do(ctx, a); err != nil {
			return err
		}
		pause(ctx, a.within(300*time.Millisecond))
		return a.relays.startAll()
	}
}

func (a *act) takeDown() {
	for _, p := range a.relays.running() {
		if a.random.IntN(2) == 0 {
			a.relays.kill(p)
		} else if _, err := a.relays.stop(p); err != nil {
			a.recorder.problem("%v", err)
		}
	}
}

// withSlotFree calls a function on the slot between two holders. The same statement first
// terminates the current holder, so that hardly any relay acquires the slot in between.
func (a *act) withSlotFree(ctx context.Context, function string) error {
	statement := fmt.Sprintf(`DO $$ BEGIN
		PERFORM pg_terminate_backend(active_pid, 1000) FROM pg_replication_slots WHERE slot_name = '%[1]s' AND active;
		PERFORM `+function+`;
	END $$`, a.slot)
	var err error
	await(ctx, 5*time.Second, func() bool {
		err = a.exec(ctx, statement)
		return err == nil || hasCode(err, "42704") // undefined_object: the slot is dropped
	})
	// The slot was always in use or is invalid, so the fault has no effect.
	if err != nil && !hasCode(err, "42704", "55006", "55000") {
		return fmt.Errorf("%s: %w", function, err)
	}
	return nil
}

const (
	dropIt   = `pg_drop_replication_slot('%[1]s')`
	createIt = `SELECT pg_create_logical_replication_slot($1, 'pgoutput')`
	// Only forward: Postgres refuses to move a slot that is ahead of the log.
	advanceIt = `pg_replication_slot_advance('%[1]s', pg_current_wal_lsn())`
)

func dropSlot(ctx context.Context, a *act) error { return a.withSlotFree(ctx, dropIt) }

// dropSlotBehindAnOutage drops the slot while many of its events are undelivered. If the relay has
// a retention, it has searched the table for old rows meanwhile, and some of the undelivered ones
// were old enough. It removes no row during a recovery.
func dropSlotBehindAnOutage(ctx context.Context, a *act) error {
	length := 1500*time.Millisecond + a.within(2*time.Second)
	if age := a.plan.retention(); age > 0 {
		a.awaitNoRecovery(ctx)
		length = max(length, age+removalInterval)
	}
	outage := a.broker.Script(fakeaws.Match{}, fakeaws.Unavailable())
	defer outage.Clear()
	pause(ctx, length)
	return dropSlot(ctx, a)
}

// awaitNoRecovery waits until the slot brings every event that is not delivered.
func (a *act) awaitNoRecovery(ctx context.Context) {
	await(ctx, crashTimeout, func() bool {
		var ended bool
		err := a.admin.QueryRow(ctx, `SELECT coalesce(bool_and(recover_from IS NULL), false)
			FROM relay_checkpoints`).Scan(&ended)
		return err == nil && ended
	})
}

// removalInterval exceeds the two seconds after which a relay with a retention of a second searches
// for old rows again.
const removalInterval = 2500 * time.Millisecond

// recreateSlot drops and creates the slot as an inexperienced operator would. Creation waits for
// running transactions.
func recreateSlot(ctx context.Context, a *act) error {
	if err := a.withSlotFree(ctx, dropIt); err != nil {
		return err
	}
	pause(ctx, a.within(200*time.Millisecond))
	err := a.exec(ctx, createIt, a.slot)
	if hasCode(err, "42710") { // duplicate_object: a relay was faster
		return nil
	}
	return err
}

func advanceSlot(ctx context.Context, a *act) error { return a.withSlotFree(ctx, advanceIt) }

// invalidateSlot makes the server remove log that the slot still needs, as max_slot_wal_keep_size
// does on a full disk.
func invalidateSlot(ctx context.Context, a *act) error {
	if err := a.configure(ctx, `ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'`); err != nil {
		return err
	}
	for range 3 {
		if err := a.exec(ctx, `INSERT INTO other SELECT FROM generate_series(1, 10)`); err != nil {
			return err
		}
		if err := a.exec(ctx, `SELECT pg_switch_wal()`); err != nil {
			return err
		}
	}
	if err := a.exec(ctx, `CHECKPOINT`); err != nil {
		return err
	}
	return a.configure(ctx, `ALTER SYSTEM RESET max_slot_wal_keep_size`)
}

// deleteRow deletes the checkpoint row, so that the next relay does not know the slot.
func deleteRow(ctx context.Context, a *act) error {
	return a.exec(ctx, `DELETE FROM relay_checkpoints`)
}

func (a *act) configure(ctx context.Context, statement string) error {
	if err := a.exec(ctx, statement); err != nil {
		return err
	}
	return a.exec(ctx, `SELECT pg_reload_conf()`)
}

// publicationFaults exclude events from the stream for a moment.
var publicationFaults = []fault{
	{name: "publication without table", weight: 3, repeats: true, skips: true, losesLog: true, do: publicationFor(
		`ALTER PUBLICATION outbox_pub DROP TABLE {table}`,
		`ALTER PUBLICATION outbox_pub ADD TABLE {table}`)},
	{name: "publication without inserts", weight: 2, repeats: true, skips: true, losesLog: true, do: publicationFor(
		`ALTER PUBLICATION outbox_pub SET (publish = 'delete')`,
		`ALTER PUBLICATION outbox_pub SET (publish = 'insert')`)},
	{name: "publication recreated", weight: 2, repeats: true, skips: true, losesLog: true, do: publicationFor(
		`DROP PUBLICATION outbox_pub`,
		`CREATE PUBLICATION outbox_pub FOR TABLE {tables}
			WITH (publish = 'insert', publish_via_partition_root = true)`)},
}

func publicationFor(change, restore string) func(context.Context, *act) error {
	return func(ctx context.Context, a *act) error {
		if err := a.exec(ctx, change); err != nil {
			return err
		}
		if a.random.IntN(3) > 0 { // otherwise the change is too short for any observation
			pause(ctx, a.within(time.Second))
		}
		if hasSeveral(a.plan) { // a table that comes back counts as a new one, whose rows may come later
			a.note = lasts
		}
		return a.exec(ctx, restore)
	}
}

func hasCode(err error, codes ...string) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return false
	}
	for _, code := range codes {
		if pgErr.Code == code {
			return true
		}
	}
	return false
}

// isConnectionError reports whether err concerns only the connection to the server, and not the
// statement.
func isConnectionError(err error) bool {
	var pgErr *pgconn.PgError
	return !errors.As(err, &pgErr) || pgErr.Code == "57P01" || pgErr.Code == "57P03"
}
