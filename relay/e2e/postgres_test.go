package e2e_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/localstack/testing/pgtest"
)

// confirmed reports whether the slot's confirmed_flush_lsn has reached lsn.
func (w *testEnv) confirmed(lsn string) bool {
	return w.query(`SELECT (confirmed_flush_lsn >= $1::pg_lsn)::text FROM pg_replication_slots
		WHERE slot_name = $2`, lsn, w.slot) == "true"
}

// endOfLog returns the current end of the log.
func (w *testEnv) endOfLog() string { return w.query(`SELECT pg_current_wal_insert_lsn()::text`) }

// awaitFreeSlot waits until no walsender holds the slot. One lives a moment longer than its relay.
func (w *testEnv) awaitFreeSlot() {
	w.t.Helper()
	w.eventually("the slot is free", func() bool {
		return w.query(`SELECT active::text FROM pg_replication_slots WHERE slot_name = $1`, w.slot) == "false"
	})
}

// advanceSlot advances the slot past everything that is committed, once it is free.
func (w *testEnv) advanceSlot() {
	w.t.Helper()
	w.awaitFreeSlot()
	w.exec(`SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())`, w.slot)
}

// dropSlot drops the slot once it is free.
func (w *testEnv) dropSlot() {
	w.t.Helper()
	w.awaitFreeSlot()
	w.exec(`SELECT pg_drop_replication_slot($1)`, w.slot)
}

// newOwnServerEnv is newTestEnv on a server of its own, for a test that keeps a transaction open. A
// server creates a slot only once every transaction that has an id has ended. The relays of other
// tests would wait for it.
func newOwnServerEnv(t *testing.T, queue string) *testEnv {
	t.Helper()
	return newTestEnvOn(t, newServer(t).URL("relay", "relay"), queue)
}

// newServer starts a server that the test can stop and restart, with a database and a role named
// relay.
func newServer(t *testing.T) *pgtest.Server {
	t.Helper()
	return newServerWith(t, nil)
}

func newServerWith(t *testing.T, settings map[string]string) *pgtest.Server {
	t.Helper()
	return newServerOf(t, pgtest.Options{Settings: settings})
}

func newServerOf(t *testing.T, options pgtest.Options) *pgtest.Server {
	t.Helper()
	options.Dir = pgtest.Dir(t)
	server := pgtest.NewServer(t, options)
	admin, err := pgx.Connect(t.Context(), server.URL("postgres", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	for _, sql := range []string{`CREATE ROLE relay LOGIN REPLICATION`, `CREATE DATABASE relay OWNER relay`} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return server
}
