// Package slot reads the state of the replication slot and of the publication over an ordinary
// connection. It also has the [Fence] and the [Lease] of the relay that holds the slot.
package slot

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// plugin is the output plugin of Postgres' built-in logical replication.
const plugin = "pgoutput"

// validName matches the slot names that Postgres accepts.
// https://www.postgresql.org/docs/current/warm-standby.html#STREAMING-REPLICATION-SLOTS-MANIPULATION
var validName = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

// ValidName reports whether Postgres accepts name as the name of a slot.
func ValidName(name string) bool { return validName.MatchString(name) }

// State is the server's description of a slot. The zero State is a slot that does not exist.
type State struct {
	Exists            bool
	Database          string
	CurrentDatabase   string // the database of the connection
	Plugin            string
	Physical          bool // not a logical slot
	TwoPhase          bool // brings a transaction when it is prepared, and not when it commits
	Active            bool
	ActivePID         int64
	WALStatus         string // reserved | extended | unreserved | lost
	InvalidReason     string // why the slot is lost, if the server's version tells
	Synced            bool   // copied from the primary that this server has replaced
	ConfirmedFlushLSN pglogrepl.LSN
	// DeliveryLag is the number of WAL bytes behind confirmed_flush_lsn. RetainedWAL is the number
	// of WAL bytes that the slot keeps on disk.
	DeliveryLag, RetainedWAL int64
	SafeWALSize              int64 // bytes that may be written before the slot is in danger; -1 without a limit
	KeepLimit                int64 // max_slot_wal_keep_size in bytes; -1 without a limit
}

// Lost reports whether the server can no longer stream from the slot.
func (s State) Lost() bool { return s.Exists && (s.WALStatus == "lost" || s.InvalidReason != "") }

// IsIntact reports whether the slot brings every commit after its confirmed_flush_lsn.
func (s State) IsIntact() bool { return s.Exists && !s.Lost() }

// IsBeingCreated reports whether a session is creating the slot: it waits for the transactions that
// are older than the slot.
func (s State) IsBeingCreated() bool {
	return s.Exists && s.Active && s.ConfirmedFlushLSN == 0 && !s.Physical
}

// CheckUsable returns an error if the slot belongs to another database or another plugin, or has
// two_phase. The relay must not touch such a slot, even if a START_REPLICATION on it would succeed.
func (s State) CheckUsable(name string) error {
	switch {
	case !s.Exists:
		return nil
	case s.Physical:
		return fmt.Errorf("slot %s is a physical slot, for a standby or a backup, and has no events: "+
			"choose another name with RELAY_SLOT", name)
	case s.Database != s.CurrentDatabase:
		return fmt.Errorf("slot %s belongs to database %q, not to %q: choose another name with RELAY_SLOT", name,
			s.Database, s.CurrentDatabase)
	// A session is creating the slot. The view does not show the plugin yet.
	case s.Active && s.Plugin == "":
		return nil
	case s.Plugin != plugin:
		return fmt.Errorf("slot %s was created for output plugin %q, not for %s: choose another name with RELAY_SLOT",
			name, s.Plugin, plugin)
	case s.TwoPhase && s.IsIntact():
		return fmt.Errorf("slot %s was created with two_phase: it brings a prepared transaction before that commits, "+
			"which the relay does not read: choose another name with RELAY_SLOT, or drop the slot with "+
			"SELECT pg_drop_replication_slot('%[1]s'). The relay then creates it again, and publishes from the "+
			"table what it has not delivered", name)
	}
	return nil
}

// lookUp reads the view through jsonb, in which a column that the server's version lacks is NULL.
const lookUp = `
	SELECT coalesce(s->>'database', ''), current_database(), coalesce(s->>'plugin', ''), s->>'slot_type' = 'physical',
	       (s->>'active')::boolean, coalesce((s->>'two_phase')::boolean, false),
	       coalesce((s->>'active_pid')::bigint, 0), coalesce(s->>'wal_status', ''),
	       coalesce(s->>'invalidation_reason', CASE WHEN (s->>'conflicting')::boolean THEN 'conflicting' END, ''),
	       coalesce((s->>'synced')::boolean, false), coalesce(s->>'confirmed_flush_lsn', '0/0')::pg_lsn,
	       coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), (s->>'confirmed_flush_lsn')::pg_lsn), 0)::bigint,
	       coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), (s->>'restart_lsn')::pg_lsn), 0)::bigint,
	       coalesce((s->>'safe_wal_size')::bigint, -1), ` + keepLimitSQL + `
	FROM (SELECT pg_catalog.to_jsonb(r) FROM pg_replication_slots r WHERE r.slot_name = $1) AS slot (s)`

// LookUp returns the state of a slot.
func LookUp(ctx context.Context, pool *pgxpool.Pool, name string) (State, error) {
	s := State{Exists: true}
	err := pool.QueryRow(ctx, lookUp, name).Scan(&s.Database, &s.CurrentDatabase, &s.Plugin, &s.Physical, &s.Active,
		&s.TwoPhase, &s.ActivePID, &s.WALStatus, &s.InvalidReason, &s.Synced, &s.ConfirmedFlushLSN,
		&s.DeliveryLag, &s.RetainedWAL, &s.SafeWALSize, &s.KeepLimit)
	if errors.Is(err, pgx.ErrNoRows) {
		return State{}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("look up slot %s: %w", name, err)
	}
	return s, nil
}

// Drop drops a slot of this database. It returns no error for a slot that is gone or that another
// process has acquired: the caller's next LookUp shows that.
func Drop(ctx context.Context, pool *pgxpool.Pool, name string) error {
	_, err := pool.Exec(ctx, `
		SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
		WHERE slot_name = $1 AND database = current_database() AND NOT active`, name)
	if err != nil {
		return fmt.Errorf("drop slot %s: %w", name, err)
	}
	return nil
}

// IsWorking reports whether the server process with this id exists and executes a command.
func IsWorking(ctx context.Context, pool *pgxpool.Pool, pid uint32) (working bool, err error) {
	err = pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND state IS DISTINCT FROM 'idle')`,
		int64(pid)).Scan(&working)
	if err != nil {
		return false, fmt.Errorf("look for process %d of the server: %w", pid, err)
	}
	return working, nil
}

// Cancel cancels the current command of the server process with this id. The process remains.
func Cancel(ctx context.Context, pool *pgxpool.Pool, pid uint32) error {
	if _, err := pool.Exec(ctx, `SELECT pg_catalog.pg_cancel_backend($1)`, int64(pid)); err != nil {
		return fmt.Errorf("cancel process %d of the server: %w", pid, err)
	}
	return nil
}

// Blockers describes the transactions that a slot being created waits for, the oldest first. Only a
// privileged role sees their age.
func Blockers(ctx context.Context, pool *pgxpool.Pool) ([]string, error) {
	rows, err := pool.Query(ctx, `
		SELECT pg_catalog.concat_ws(', ', pg_catalog.format('process %s of database %s', pid, datname),
			'user ' || usename::text, 'application ' || nullif(application_name, ''),
		                 'in a transaction since ' || date_trunc('second', xact_start)::text, state,
		                 CASE WHEN xact_start IS NULL
		                 THEN pg_catalog.format('in a transaction (GRANT pg_read_all_stats TO %I shows since when)',
		                 	current_user) END), xact_start
		FROM pg_stat_activity
		WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
		UNION ALL
		SELECT pg_catalog.format(
			'prepared transaction %L of database %s, user %s, since %s: COMMIT or ROLLBACK PREPARED ends it',
			gid, database, owner, date_trunc('second', prepared)), prepared
		FROM pg_prepared_xacts
		ORDER BY 2 NULLS FIRST LIMIT 10`)
	if err != nil {
		return nil, fmt.Errorf("look for running transactions: %w", err)
	}
	blockers, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var text string
		err := row.Scan(&text, nil)
		return text, err
	})
	if err != nil {
		return nil, fmt.Errorf("look for running transactions: %w", err)
	}
	return blockers, nil
}
